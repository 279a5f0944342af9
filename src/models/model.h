#pragma once

#include <memory>
#include <span>
#include <utility>

#include "models/packing/pack_saver.h"
#include "models/packing/pending_weights.h"
#include "models/packing/streamed_weights.h"
#include "models/spec.h"
#include "nn/forward.h"
#include "tensor/buffer.h"
#include "tensor/fresh_pages.h"

namespace millrace {

// A model's weights as the kernels read them.
struct WeightMemory {
  Buffer matrices;  // one after the other, in the order in which a step reads them
  Buffer vectors;   // float32
};

// Whence and whither weights are on their way while a model is used; each may be null.
struct WeightTraffic {
  std::unique_ptr<FreshPages> pages;
  std::unique_ptr<PackSaver> saver;
  std::unique_ptr<PendingWeights> pending;  // may start the saver
  std::unique_ptr<StreamedWeights> streamed;
};

// A loaded model: its spec, its weights, and the network that reads them. Constant; any number of
// executors may run it.
class Model {
 public:
  Model(ModelSpec spec, Network network, WeightMemory weights, WeightTraffic traffic)
      : spec_(std::move(spec)),
        weights_(std::move(weights)),
        network_(std::move(network)),
        traffic_(std::move(traffic)) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelSpec& spec() const { return spec_; }
  const Network& network() const { return network_; }
  int64_t weight_bytes() const { return weights_.matrices.size() + weights_.vectors.size(); }
  // Of all matrices.
  std::span<const std::byte> matrix_memory() const {
    return {weights_.matrices.data(), static_cast<size_t>(weights_.matrices.size())};
  }

  // Starts to bring them there that are not. At most once, and before await_weights(), which
  // does without where it was not called.
  void begin_reading() const {
    if (traffic_.pending != nullptr) traffic_.pending->begin();
  }
  // Returns when all weights are in memory that stay there, which they need not be before the first
  // step; `lanes` are idle and help. The error of every call after the first one that failed is the
  // same.
  absl::Status await_weights(LanePool& lanes) const {
    if (traffic_.streamed != nullptr) return traffic_.streamed->await_residents();
    return traffic_.pending == nullptr ? absl::OkStatus() : traffic_.pending->await(lanes);
  }
  // Returns when the pack that the next start will find has been written, if one is.
  void await_pack() const {
    if (traffic_.saver != nullptr) traffic_.saver->await();
  }
  // Whether they move from small into huge pages, which the system gives slowly.
  bool moves_to_huge_pages() const { return traffic_.pages != nullptr && traffic_.pages->moves(); }
  // Returns when those that could be moved lie in huge pages.
  void await_huge_pages() const {
    if (traffic_.pages != nullptr) traffic_.pages->await_moved();
  }
  // Whether they are read from a pack.
  bool is_from_pack() const { return traffic_.pending != nullptr || traffic_.streamed != nullptr; }
  // What passes must go through, as they need weights that are not in memory; null: all are.
  StreamedWeights* streamed() const { return traffic_.streamed.get(); }

 private:
  ModelSpec spec_;
  WeightMemory weights_;
  Network network_;
  WeightTraffic traffic_;  // its threads use weights_
};

}  // namespace millrace
