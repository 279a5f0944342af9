#pragma once

#include <memory>
#include <span>
#include <utility>

#include "models/packing/pending_weights.h"
#include "models/spec.h"
#include "nn/forward.h"
#include "tensor/buffer.h"

namespace millrace {

// A model's weights as the kernels read them.
struct WeightMemory {
  Buffer matrices;  // one after the other, in the order in which a step reads them
  Buffer vectors;   // float32
};

// A loaded model: its spec, its weights, and the network that reads them. Constant; any number of
// executors may run it.
class Model {
 public:
  // pending: null where the memory holds all of the weights already.
  Model(ModelSpec spec, Network network, WeightMemory weights,
        std::unique_ptr<PendingWeights> pending)
      : spec_(std::move(spec)),
        weights_(std::move(weights)),
        network_(std::move(network)),
        pending_(std::move(pending)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelSpec& spec() const { return spec_; }
  const Network& network() const { return network_; }
  int64_t weight_bytes() const { return weights_.matrices.size() + weights_.vectors.size(); }
  // Of all matrices.
  std::span<const std::byte> matrix_memory() const {
    return {weights_.matrices.data(), static_cast<size_t>(weights_.matrices.size())};
  }

  // Returns when all weights are in memory, which they need not be before the first step; `lanes`
  // are idle and help. The error of every call after the first one that failed is the same.
  absl::Status await_weights(LanePool& lanes) const {
    return pending_ == nullptr ? absl::OkStatus() : pending_->await(lanes);
  }
  bool has_weights() const { return pending_ == nullptr || pending_->are_there(); }
  // Whether they are read from a pack.
  bool is_from_pack() const { return pending_ != nullptr; }

 private:
  ModelSpec spec_;
  WeightMemory weights_;
  Network network_;
  std::unique_ptr<PendingWeights> pending_;  // its threads write to weights_
};

}  // namespace millrace
