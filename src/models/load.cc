#include "models/load.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <span>

#include "base/log.h"
#include "models/network.h"
#include "models/packing/pack_cache.h"
#include "models/packing/pending_weights.h"
#include "models/packing/tensor_packer.h"
#include "models/weights_plan.h"

namespace millrace {
namespace {

absl::Status set_rope(const RopeSpec& spec, std::span<const float> factors, Network& network) {
  const auto wrong = std::ranges::find_if(factors, [](float factor) { return !(factor > 0); });
  if (wrong != factors.end()) {
    return invalid_argument("the rope factors hold {}, but must be positive", *wrong);
  }
  network.rope_frequencies = rope_frequencies(spec, factors);
  network.rope = {.pairs = spec.pairs,
                  .rotated = spec.rotated,
                  .frequencies = network.rope_frequencies,
                  .magnitude = rope_magnitude(spec.scaling)};
  return absl::OkStatus();
}

absl::StatusOr<WeightMemory> allocate(const WeightsPlan& plan) {
  WeightMemory memory;
  ASSIGN_OR_RETURN(memory.matrices, Buffer::allocate(plan.matrix_bytes()));
  ASSIGN_OR_RETURN(memory.vectors, Buffer::allocate(plan.vector_bytes()));
  return memory;
}

std::span<std::byte> span_of(const Buffer& buffer) {
  return {buffer.data(), static_cast<size_t>(buffer.size())};
}

// The rope factors.
absl::StatusOr<std::span<const float>> fill(TensorPacker packer, const ModelSpec& spec,
                                            Network& network) {
  const auto weights_of = [&](int32_t layer) {
    return std::make_unique<LayerWeights>(packer, spec.tensor_name, layer);
  };
  return load_network(spec, weights_of, network);
}

void keep(const PackCache& cache, const Checkpoint& checkpoint, std::span<std::byte> matrices) {
  const absl::Status kept = cache.keep(checkpoint, matrices);
  if (!kept.ok()) spdlog::warn("the packed weights are not kept: {}", message_of(kept));
}

// A model's matrices once more, into the memory where they should have come from a pack.
absl::Status pack_again(const PackCache& cache, const Checkpoint& checkpoint,
                        std::span<std::byte> matrices, LanePool& lanes) {
  ASSIGN_OR_RETURN(const ModelSpec spec, read_spec(checkpoint));
  ASSIGN_OR_RETURN(const WeightsPlan plan, plan_weights(checkpoint, spec));
  const std::string folder = std::filesystem::path(cache.path()).parent_path().string();
  ASSIGN_OR_RETURN(const PackCache now, PackCache::open(folder, checkpoint, plan));
  if (!now.is_of(cache)) {
    return make_error(absl::StatusCode::kFailedPrecondition,
                      "the model file has changed since it was opened");
  }
  ASSIGN_OR_RETURN(const Buffer vectors, Buffer::allocate(plan.vector_bytes()));
  const PackTarget target = {.matrices = matrices, .vectors = span_of(vectors)};
  Network network;
  const LoadOptions options;
  RETURN_IF_ERROR(
      fill(TensorPacker(checkpoint, plan, options, lanes, target), spec, network).status());
  keep(cache, checkpoint, matrices);
  return absl::OkStatus();
}

void warn_of(const PackCache& cache, const absl::Status& why) {
  spdlog::warn("'{}' is made again: {}", cache.path(), message_of(why));
}

// Starts to read the pack of a checkpoint into its place; null where there is none to use.
absl::StatusOr<std::unique_ptr<PendingWeights>> read_pack(const PackCache& cache,
                                                          const Checkpoint& checkpoint,
                                                          std::span<std::byte> matrices,
                                                          int lanes) {
  absl::StatusOr<PackFile> pack = cache.find();
  if (!pack.ok()) {
    if (!absl::IsNotFound(pack.status())) warn_of(cache, pack.status());
    return nullptr;
  }
  const auto rebuild = [=](const absl::Status& why, LanePool& pool) -> absl::Status {
    warn_of(cache, why);
    return pack_again(cache, checkpoint, matrices, pool);
  };
  return std::make_unique<PendingWeights>(*std::move(pack), matrices, std::max(1, lanes - 1),
                                          rebuild);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint,
                                                  const LoadOptions& options, LanePool& lanes) {
  ASSIGN_OR_RETURN(ModelSpec spec, read_spec(checkpoint));
  ASSIGN_OR_RETURN(const WeightsPlan plan, plan_weights(checkpoint, spec));
  ASSIGN_OR_RETURN(WeightMemory memory, allocate(plan));
  const std::span<std::byte> matrices = span_of(memory.matrices);
  std::optional<PackCache> cache;
  std::unique_ptr<PendingWeights> pending;
  if (!options.pack_cache.empty()) {
    ASSIGN_OR_RETURN(cache, PackCache::open(options.pack_cache, checkpoint, plan));
    ASSIGN_OR_RETURN(pending, read_pack(*cache, checkpoint, matrices, lanes.lanes()));
  }
  const PackTarget target = {.matrices = matrices,
                             .vectors = span_of(memory.vectors),
                             .packs_matrices = pending == nullptr};
  Network network;
  ASSIGN_OR_RETURN(const std::span<const float> rope_factors,
                   fill(TensorPacker(checkpoint, plan, options, lanes, target), spec, network));
  RETURN_IF_ERROR(set_rope(spec.rope, rope_factors, network));
  if (cache && pending == nullptr) keep(*cache, checkpoint, matrices);
  return std::make_unique<Model>(std::move(spec), std::move(network), std::move(memory),
                                 std::move(pending));
}

}  // namespace millrace
