#pragma once

#include "models/spec.h"
#include "nn/forward.h"
#include "tensor/buffer.h"

namespace millrace {

// A loaded model: its spec, its weights, and the network that reads them. Constant; any number of
// executors may run it.
class Model {
 public:
  Model(ModelSpec spec, Network network, Buffer weights)
      : spec_(std::move(spec)), weights_(std::move(weights)), network_(std::move(network)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelSpec& spec() const { return spec_; }
  const Network& network() const { return network_; }
  int64_t weight_bytes() const { return weights_.size(); }

 private:
  ModelSpec spec_;
  Buffer weights_;
  Network network_;
};

}  // namespace millrace
