#include "models/load.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/log.h"
#include "models/network.h"
#include "models/packing/pack_cache.h"
#include "models/packing/packed_stream.h"
#include "models/packing/stream_plan.h"
#include "models/packing/tensor_packer.h"
#include "models/weights_plan.h"
#include "tensor/huge_pages.h"

namespace millrace {
namespace {

absl::StatusOr<WeightMemory> allocate(const WeightsPlan& plan) {
  WeightMemory memory;
  ASSIGN_OR_RETURN(memory.matrices, Buffer::allocate(plan.matrix_bytes()));
  ASSIGN_OR_RETURN(memory.vectors, Buffer::allocate(plan.vector_bytes()));
  return memory;
}

std::span<std::byte> span_of(const Buffer& buffer) {
  return {buffer.data(), static_cast<size_t>(buffer.size())};
}

// The places where the matrices of each layer begin.
using LayerBegins = std::vector<int64_t>;

absl::StatusOr<LayerBegins> fill(TensorPacker packer, const ModelSpec& spec, Network& network) {
  LayerBegins begins;
  const auto weights_of = [&](int32_t layer) {
    if (layer != kNoLayer) begins.push_back(packer.bytes_placed());
    return std::make_unique<LayerWeights>(packer, layer);
  };
  RETURN_IF_ERROR(load_network(spec, weights_of, network));
  return begins;
}

// Starts to write a pack of what was packed out of the checkpoint.
void keep(const PackCache& cache, const Checkpoint& checkpoint, std::span<const std::byte> matrices,
          PackSaver& saver) {
  const absl::Status unchanged = cache.check_unchanged(checkpoint);
  if (!unchanged.ok()) return warn_of_lost_pack(unchanged);
  absl::StatusOr<PackWriter> writer = cache.writer();
  if (!writer.ok()) return warn_of_lost_pack(writer.status());
  saver.start(*std::move(writer), matrices);
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
  return fill(TensorPacker(checkpoint, plan, options, lanes, target), spec, network).status();
}

void warn_of(const PackCache& cache, const absl::Status& why) {
  spdlog::warn("'{}' is made again: {}", cache.path(), message_of(why));
}

// As PackCache::find; NOT_FOUND also where there is one that cannot be used, which is a warning.
absl::StatusOr<PackFile> find_usable(const PackCache& cache) {
  absl::StatusOr<PackFile> pack = cache.find();
  if (pack.ok() || absl::IsNotFound(pack.status())) return pack;
  warn_of(cache, pack.status());
  return absl::NotFoundError("");
}

// Starts to read the pack of a checkpoint into its place; null where there is none to use.
absl::StatusOr<std::unique_ptr<PendingWeights>> read_pack(const PackCache& cache,
                                                          const Checkpoint& checkpoint,
                                                          std::span<std::byte> matrices, int lanes,
                                                          const WeightTraffic& traffic) {
  absl::StatusOr<PackFile> pack = find_usable(cache);
  if (!pack.ok()) return nullptr;
  PackSaver& saver = *traffic.saver;
  const auto rebuild = [=, &saver](const absl::Status& why, LanePool& pool) -> absl::Status {
    warn_of(cache, why);
    RETURN_IF_ERROR(pack_again(cache, checkpoint, matrices, pool));
    keep(cache, checkpoint, matrices, saver);
    return absl::OkStatus();
  };
  return std::make_unique<PendingWeights>(*std::move(pack), matrices, *traffic.pages,
                                          std::max(1, lanes - 1), rebuild);
}

// A model in the making.
struct Loading {
  const Checkpoint& checkpoint;
  const LoadOptions& options;
  LanePool& lanes;
  ModelSpec spec;
  WeightsPlan plan;
  WeightMemory memory;
  Network network;
  WeightTraffic traffic;
};

absl::StatusOr<LayerBegins> fill(Loading& loading, const PackTarget& target,
                                 const LoadOptions& options) {
  loading.network = Network();
  ASSIGN_OR_RETURN(LayerBegins begins, fill(TensorPacker(loading.checkpoint, loading.plan, options,
                                                         loading.lanes, target),
                                            loading.spec, loading.network));
  RETURN_IF_ERROR(loading.network.ropes.compute_frequencies());
  return begins;
}

absl::Status load_all(Loading& loading) {
  const std::span<std::byte> matrices = span_of(loading.memory.matrices);
  const std::string& folder = loading.options.pack_cache;
  WeightTraffic& traffic = loading.traffic;
  traffic.pages = std::make_unique<FreshPages>(matrices);
  std::optional<PackCache> cache;
  if (!folder.empty()) {
    ASSIGN_OR_RETURN(cache, PackCache::open(folder, loading.checkpoint, loading.plan));
    traffic.saver = std::make_unique<PackSaver>();
    ASSIGN_OR_RETURN(traffic.pending, read_pack(*cache, loading.checkpoint, matrices,
                                                loading.lanes.lanes(), traffic));
  }
  const PackTarget target = {.matrices = matrices,
                             .vectors = span_of(loading.memory.vectors),
                             .packs_matrices = traffic.pending == nullptr,
                             .pages = traffic.pages.get()};
  RETURN_IF_ERROR(fill(loading, target, loading.options).status());
  if (traffic.pending == nullptr) traffic.pages->start_moving();
  if (cache && traffic.pending == nullptr) {
    keep(*cache, loading.checkpoint, matrices, *traffic.saver);
  }
  return absl::OkStatus();
}

MatrixMap map_of(const Loading& loading, const LayerBegins& begins) {
  const std::span<const std::byte> memory = span_of(loading.memory.matrices);
  const auto range_of = [&](const PackedMatrix& matrix) {
    return MemoryRange{matrix.panel(0) - memory.data(),
                       matrix.panel(matrix.panels()) - memory.data()};
  };
  const PackedMatrix& head = loading.network.head.matrix();
  MatrixMap map = {.bytes = std::ssize(memory),
                   .embedding = range_of(loading.network.embedding.matrix()),
                   .head = range_of(head),
                   .head_panel_bytes = head.panel_bytes()};
  for (size_t i = 0; i < begins.size(); ++i) {
    const bool is_last = i + 1 == begins.size();
    map.layers.push_back({begins[i], is_last ? map.bytes : begins[i + 1]});
  }
  return map;
}

// Packs the matrices into their pack, and into memory what stays there.
absl::Status pack_through(Loading& loading, const PackCache& cache, const StreamPlan& plan) {
  const std::span<std::byte> matrices = span_of(loading.memory.matrices);
  ASSIGN_OR_RETURN(PackWriter writer, cache.writer());
  PackedStream stream(std::move(writer), matrices, plan);
  const PackTarget target = {
      .matrices = matrices,
      .vectors = span_of(loading.memory.vectors),
      .packed = [&](int64_t bytes) { return stream.add_up_to(bytes); },
      .piece_bytes = std::max<int64_t>(1, plan.transient - 1) * plan.segment_bytes};
  RETURN_IF_ERROR(fill(loading, target, loading.options).status());
  RETURN_IF_ERROR(cache.check_unchanged(loading.checkpoint));
  return stream.finish();
}

absl::Status load_streamed(Loading& loading) {
  if (loading.options.pack_cache.empty()) {
    return invalid_argument("memory for weights can be limited with a folder for packs only");
  }
  if (loading.options.head_rows > 0) {
    return invalid_argument("of a model in limited memory all logits are computed");
  }
  const std::span<std::byte> matrices = span_of(loading.memory.matrices);
  const PackTarget target = {
      .matrices = matrices, .vectors = span_of(loading.memory.vectors), .packs_matrices = false};
  ASSIGN_OR_RETURN(const LayerBegins begins, fill(loading, target, {}));
  ASSIGN_OR_RETURN(StreamPlan plan,
                   plan_stream(map_of(loading, begins), loading.plan.vector_bytes(),
                               loading.options.weight_memory));
  // A huge page would hold more than one segment.
  if (plan.segment_bytes % kHugePageBytes != 0) avoid_huge_pages(matrices);
  ASSIGN_OR_RETURN(const PackCache cache,
                   PackCache::open(loading.options.pack_cache, loading.checkpoint, loading.plan));
  absl::StatusOr<PackFile> pack = find_usable(cache);
  const bool is_new = !pack.ok();
  if (is_new) {
    RETURN_IF_ERROR(pack_through(loading, cache, plan));
    pack = cache.find();
    RETURN_IF_ERROR(pack.status());
  }
  ASSIGN_OR_RETURN(loading.traffic.streamed,
                   StreamedWeights::create(
                       {.pack = *std::move(pack),
                        .plan = std::move(plan),
                        .memory = matrices,
                        .has_residents = is_new,
                        .embedding_panel_bytes = loading.network.embedding.matrix().panel_bytes(),
                        .lanes = loading.lanes.lanes(),
                        .on_failure = [cache](const auto& why) { return cache.discard(why); }}));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint,
                                                  const LoadOptions& options, LanePool& lanes) {
  ASSIGN_OR_RETURN(ModelSpec spec, read_spec(checkpoint));
  ASSIGN_OR_RETURN(WeightsPlan plan, plan_weights(checkpoint, spec));
  ASSIGN_OR_RETURN(WeightMemory memory, allocate(plan));
  const bool fits = options.weight_memory == 0 || options.weight_memory >= plan.packed_bytes();
  Loading loading = {checkpoint,      options,           lanes, std::move(spec),
                     std::move(plan), std::move(memory), {},    {}};
  RETURN_IF_ERROR(fits ? load_all(loading) : load_streamed(loading));
  if (options.head_rows > 0) {
    loading.network.head_rows = std::min(int64_t{options.head_rows}, loading.network.head_rows);
  }
  return std::make_unique<Model>(std::move(loading.spec), std::move(loading.network),
                                 std::move(loading.memory), std::move(loading.traffic));
}

}  // namespace millrace
