#include "exec/local.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

// The bodies that keep keys and values, those of one pattern sharing a group, and the groups.
struct CachePlan {
  std::vector<KvLayerShape> layers;
  std::vector<KvGroup> groups;
  std::vector<ops::CausalPattern> patterns;  // [groups]
};

CachePlan plan_cache(const ModelSpec& spec, const LocalOptions& options) {
  CachePlan plan;
  for_each_body(spec.layers, [&](const BodySpec& body) {
    const KvShape shape = kv_shape(body);
    if (shape.heads == 0) return;
    auto pattern = std::ranges::find(plan.patterns, shape.pattern);
    if (pattern == plan.patterns.end()) {
      plan.groups.push_back({.block_tokens = options.block_tokens,
                             .window = shape.pattern.window,
                             .units = options.kv_blocks});
      plan.patterns.push_back(shape.pattern);
      pattern = std::prev(plan.patterns.end());
    }
    plan.layers.push_back({.group = static_cast<int32_t>(pattern - plan.patterns.begin()),
                           .heads = shape.heads,
                           .head_dim = shape.head_dim});
  });
  return plan;
}

// Every block that the slice's rows are written to or read from lies in its table, and is one that
// the group has.
void check_table(std::span<const BlockId> table, const KvGroup& group, int32_t slot_max) {
  CHECK(std::ssize(table) * group.block_tokens > slot_max, "{} blocks of {} for slot {}",
        table.size(), group.block_tokens, slot_max);
  for (const BlockId block : table) {
    CHECK(block.valid() && block.value < group.units, "block {} of {}", block, group.units);
  }
}

void check_batch(const Batch& batch, const Capacity& capacity, int32_t vocab_size) {
  const int32_t rows = batch.rows();
  CHECK(rows > 0 && rows <= capacity.rows_max, "{} rows of {}", rows, capacity.rows_max);
  CHECK(std::ssize(batch.slices) <= capacity.sequences_max);
  CHECK(std::ssize(batch.positions) == rows && std::ssize(batch.slots) == rows);
  CHECK(batch.tables.size() == capacity.groups.size());
  for (const TokenId token : batch.tokens) {
    CHECK(token >= 0 && token < vocab_size, "token {} of {}", token, vocab_size);
  }
  for (const int32_t row : batch.wants) CHECK(row >= 0 && row < rows, "row {} of {}", row, rows);
  for (const BlockCopy& copy : batch.copies) {
    CHECK(copy.group >= 0 && copy.group < std::ssize(capacity.groups));
    const int64_t units = capacity.groups[static_cast<size_t>(copy.group)].units;
    CHECK(copy.from.valid() && copy.from.value < units && copy.to.valid() && copy.to.value < units);
  }
}

}  // namespace

int64_t LocalExecutor::block_bytes(const ModelSpec& spec, DType kv_dtype, int32_t block_tokens) {
  return kv_token_bytes(spec, kv_dtype) * block_tokens;
}

LocalExecutor::LocalExecutor(const Model& model, LanePool& lanes, const LocalOptions& options)
    : model_(model),
      lanes_(lanes),
      options_(options),
      cpu_ops_(kernels_for(options.isa)),
      ops_(options.ops == nullptr ? cpu_ops_ : *options.ops),
      sampler_(model.spec().vocab_size, lanes.lanes()) {}

absl::StatusOr<std::unique_ptr<LocalExecutor>> LocalExecutor::create(const Model& model,
                                                                     LanePool& lanes,
                                                                     const LocalOptions& options) {
  CHECK(options.block_tokens > 0 && options.kv_blocks > 0 && options.rows_max > 0 &&
        options.sequences_max > 0);
  std::unique_ptr<LocalExecutor> executor(new LocalExecutor(model, lanes, options));
  RETURN_IF_ERROR(executor->allocate());
  return executor;
}

absl::Status LocalExecutor::allocate() {
  CachePlan plan = plan_cache(model_.spec(), options_);
  ASSIGN_OR_RETURN(store_, KvStore::create(options_.kv_dtype, plan.layers, plan.groups));
  patterns_ = std::move(plan.patterns);
  capacity_ = {.groups = std::move(plan.groups),
               .rows_max = options_.rows_max,
               .sequences_max = options_.sequences_max};
  slices_.resize(capacity_.groups.size());
  keys_.resize(capacity_.groups.size());
  rows_.resize(capacity_.groups.size());
  for (auto& slices : slices_) slices.reserve(static_cast<size_t>(options_.sequences_max));

  int64_t layer = 0;
  for_each_body(model_.spec().layers, [&](const BodySpec& body) {
    KvPlace place;
    if (kv_shape(body).heads > 0) {
      const int32_t group = plan.layers[static_cast<size_t>(layer)].group;
      place = {.rows = &rows_[static_cast<size_t>(group)], .cache = &store_.layer(layer++)};
    }
    places_.push_back(place);
  });
  const Network& network = model_.network();
  ASSIGN_OR_RETURN(step_memory_, Buffer::allocate(forward_bytes(network, options_.rows_max)));
  ASSIGN_OR_RETURN(carried_memory_,
                   Buffer::allocate(carried_bytes(network, places_, lanes_.lanes())));
  return absl::OkStatus();
}

void LocalExecutor::prepare(const Batch& batch) {
  CHECK(batch_ == nullptr, "a batch is already in flight");
  check_batch(batch, capacity_, model_.spec().vocab_size);
  batch_ = &batch;
  want_positions_.clear();
  for (const int32_t row : batch.wants) {
    want_positions_.push_back(batch.positions[static_cast<size_t>(row)]);
  }
  for (size_t group = 0; group < slices_.size(); ++group) {
    slices_[group].clear();
    for (size_t i = 0; i < batch.slices.size(); ++i) {
      const SliceHead& head = batch.slices[i];
      const int32_t rows = head.rows;
      CHECK(head.row >= 0 && rows > 0 && head.row + rows <= batch.rows());
      const auto slots =
          std::span(batch.slots).subspan(static_cast<size_t>(head.row), static_cast<size_t>(rows));
      const auto table = batch.tables[group].row(static_cast<int32_t>(i));
      check_table(table, capacity_.groups[group], *std::ranges::max_element(slots));
      slices_[group].push_back(
          {.row = head.row, .rows = rows, .write_from = head.write_from, .table = table});
    }
    patterns_[group].list(batch.positions, keys_[group]);
    rows_[group] = {.slices = slices_[group],
                    .positions = batch.positions,
                    .slots = batch.slots,
                    .keys = &keys_[group]};
  }
}

absl::Status LocalExecutor::compute(VisitLogits visit) {
  CHECK(batch_ != nullptr, "no batch is in flight");
  const auto pass = [&] { lanes_.run([&](Lane& lane) { compute_on(lane, visit); }); };
  absl::Status status;
  if (StreamedWeights* const streamed = model_.streamed()) {
    status =
        streamed->run_pass((std::ssize(batch_->wants) + kHeadRowsMax - 1) / kHeadRowsMax, pass);
  } else {
    pass();
  }
  batch_ = nullptr;
  return status;
}

void LocalExecutor::compute_on(Lane& lane, VisitLogits visit) const {
  if (!batch_->copies.empty()) {
    store_.copy(lane, batch_->copies);
    ops_.barrier(lane);
  }
  const Network& network = model_.network();
  std::optional<WeightCursor> weights;
  if (StreamedWeights* const streamed = model_.streamed()) weights.emplace(*streamed);
  const ForwardMemory memory = {
      .step = step_memory_.data(),
      .carried = {carried_memory_.data(), static_cast<size_t>(carried_memory_.size())},
      .weights = weights ? &*weights : nullptr};
  const Rows<const float> hidden = forward(
      lane, ops_, network,
      {.tokens = batch_->tokens, .positions = batch_->positions, .places = places_}, memory);
  const std::span<const int32_t> wants = batch_->wants;
  for (size_t first = 0; first < wants.size(); first += kHeadRowsMax) {
    const auto rows = wants.subspan(first, std::min<size_t>(kHeadRowsMax, wants.size() - first));
    visit(lane, {.first = static_cast<int32_t>(first),
                 .rows = head(lane, ops_, network, hidden, rows, memory)});
  }
}

absl::Status LocalExecutor::start(const Batch& batch) {
  RETURN_IF_ERROR(model_.await_weights(lanes_));
  prepare(batch);
  return absl::OkStatus();
}

absl::Status LocalExecutor::finish(const DrawOrders& orders, StepOutput& output) {
  sampler_.prepare(orders, output);
  return compute([&](Lane& lane, const WantedLogits& logits) {
    sampler_.sample(lane, logits, want_positions_, orders, output);
  });
}

absl::Status LocalExecutor::visit_logits(const Batch& batch,
                                         absl::FunctionRef<void(const WantedLogits&)> visit) {
  RETURN_IF_ERROR(start(batch));
  return compute([&](Lane& lane, const WantedLogits& logits) {
    lane.for_each_piece(1, 1, [&](WorkRange) { visit(logits); });
  });
}

int64_t LocalExecutor::working_bytes() const {
  return step_memory_.size() + carried_memory_.size() + sampler_.bytes();
}

}  // namespace millrace
