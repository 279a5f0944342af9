#include "exec/local.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "exec/cache_plan.h"

namespace millrace {
namespace {

// A table is an entry for each block up to that of the slice's last row; those whose tokens no row
// reads may be invalid. True: all are valid.
bool check_table(std::span<const BlockId> table, const KvGroup& group,
                 std::span<const int32_t> slots, int32_t first_key) {
  const int32_t slot_max = *std::ranges::max_element(slots);
  CHECK(std::ssize(table) * group.block_tokens > slot_max, "{} blocks of {} for slot {}",
        table.size(), group.block_tokens, slot_max);
  bool whole = true;
  for (int64_t i = 0; i < std::ssize(table); ++i) {
    const BlockId block = table[static_cast<size_t>(i)];
    const bool behind = (i + 1) * group.block_tokens <= first_key;
    CHECK(block.valid() ? block.value < group.units : behind, "block {} of {}", block, group.units);
    whole &= block.valid();
  }
  return whole;
}

// Rows stand and are stored as core/batch.h has it.
void check_slice(const Batch& batch, const SliceHead& head) {
  CHECK(head.draft_rows >= 0 && head.draft_rows < head.rows, "a draft of {} rows in a slice of {}",
        head.draft_rows, head.rows);
  CHECK(head.draft_rows == 0 || !batch.parents.empty(), "a draft without parents");
  const int32_t draft = head.row + head.rows - head.draft_rows;  // its first row
  const auto slot_of = [&](int32_t row) { return batch.slots[static_cast<size_t>(row)]; };
  const auto position_of = [&](int32_t row) { return batch.positions[static_cast<size_t>(row)]; };
  CHECK(slot_of(head.row) >= 0, "slot {}", slot_of(head.row));
  for (int32_t row = head.row; row < head.row + head.rows; ++row) {
    CHECK(slot_of(row) == slot_of(head.row) + row - head.row,
          "row {} in slot {} of rows from {} on", row, slot_of(row), slot_of(head.row));
    const int32_t parent = batch.parents.empty() ? -1 : batch.parents[static_cast<size_t>(row)];
    if (row < draft) {
      CHECK(parent == -1, "row {} of a known token follows row {}", row, parent);
      CHECK(position_of(row) == slot_of(row), "position {} of a known token in slot {}",
            position_of(row), slot_of(row));
    } else {
      CHECK(parent >= draft - 1 && parent < row, "row {} of a draft follows row {}", row, parent);
      CHECK(position_of(row) == position_of(parent) + 1, "position {} of a row that follows {}",
            position_of(row), position_of(parent));
    }
  }
  CHECK(head.draft_rows == 0 || head.write_from <= slot_of(draft), "a draft in shared blocks");
}

void check_batch(const Batch& batch, const Capacity& capacity, int32_t vocab_size) {
  const int32_t rows = batch.rows();
  CHECK(rows > 0 && rows <= capacity.rows_max, "{} rows of {}", rows, capacity.rows_max);
  CHECK(std::ssize(batch.slices) <= capacity.sequences_max);
  CHECK(std::ssize(batch.positions) == rows && std::ssize(batch.slots) == rows);
  CHECK(batch.parents.empty() || std::ssize(batch.parents) == rows);
  CHECK(batch.tables.size() == capacity.groups.size());
  for (const TokenId token : batch.tokens) {
    CHECK(token >= 0 && token < vocab_size, "token {} of {}", token, vocab_size);
  }
  for (const int32_t row : batch.wants) CHECK(row >= 0 && row < rows, "row {} of {}", row, rows);
  CHECK(std::ranges::is_sorted(batch.wants));
  for (const BlockCopy& copy : batch.copies) {
    CHECK(copy.group >= 0 && copy.group < std::ssize(capacity.groups));
    const int64_t units = capacity.groups[static_cast<size_t>(copy.group)].units;
    CHECK(copy.from.valid() && copy.from.value < units && copy.to.valid() && copy.to.value < units);
  }
}

}  // namespace

LocalExecutor::LocalExecutor(const Model& model, LanePool& lanes, const LocalOptions& options)
    : model_(model),
      lanes_(lanes),
      options_(options),
      cpu_ops_(kernels_for(options.isa)),
      ops_(options.ops == nullptr ? cpu_ops_ : *options.ops),
      sampler_(model.network().head_rows, lanes.lanes()) {}

absl::StatusOr<std::unique_ptr<LocalExecutor>> LocalExecutor::create(const Model& model,
                                                                     LanePool& lanes,
                                                                     const LocalOptions& options) {
  CHECK(options.block_tokens > 0 && options.rows_max > 0 && options.sequences_max > 0);
  std::unique_ptr<LocalExecutor> executor(new LocalExecutor(model, lanes, options));
  RETURN_IF_ERROR(executor->allocate());
  return executor;
}

absl::Status LocalExecutor::allocate() {
  CachePlan plan = plan_cache(model_.spec(), options_.kv_dtype, options_.block_tokens);
  CHECK(options_.units.size() == plan.groups.size(), "units of {} groups for {}",
        options_.units.size(), plan.groups.size());
  for (size_t i = 0; i < plan.groups.size(); ++i) plan.groups[i].units = options_.units[i];
  ASSIGN_OR_RETURN(store_, KvStore::create(plan.parts, plan.groups));
  patterns_ = std::move(plan.patterns);
  capacity_ = {.groups = std::move(plan.groups),
               .rows_max = options_.rows_max,
               .sequences_max = options_.sequences_max};
  slices_.resize(capacity_.groups.size());
  keys_.resize(capacity_.groups.size());
  rows_.resize(capacity_.groups.size());
  filled_tables_.resize(capacity_.groups.size());
  for (auto& slices : slices_) slices.reserve(static_cast<size_t>(options_.sequences_max));

  for (const int32_t part : plan.part_of_body) {
    KvPlace& place = places_.emplace_back();
    if (part < 0) continue;
    const auto group = static_cast<size_t>(plan.parts[static_cast<size_t>(part)].group);
    const bool is_state = capacity_.groups[group].kind == KvKind::kState;
    place = {.rows = is_state ? nullptr : &rows_[group],
             .states = is_state ? &state_rows_ : nullptr,
             .bytes = store_.part(part),
             .dtype = options_.kv_dtype,
             .block_tokens = options_.block_tokens};
  }
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
  int32_t next = 0;
  for (const SliceHead& head : batch.slices) {
    CHECK(head.row == next && head.rows > 0 && head.rows <= batch.rows() - next,
          "a slice of {} rows from {} on behind {} of {}", head.rows, head.row, next, batch.rows());
    check_slice(batch, head);
    next += head.rows;
  }
  CHECK(next == batch.rows(), "{} of {} rows are in slices", next, batch.rows());
  ops::list_paths(batch.positions, batch.slots, batch.parents, paths_);
  bool has_states = false;
  for (size_t group = 0; group < slices_.size(); ++group) {
    const bool is_state = capacity_.groups[group].kind == KvKind::kState;
    has_states |= is_state;
    is_state ? prepare_states(batch, group) : prepare_tokens(batch, group);
  }
  CHECK(has_states || batch.saves.empty(), "states of a model that has none");
}

void LocalExecutor::prepare_tokens(const Batch& batch, size_t group) {
  slices_[group].clear();
  patterns_[group].list(batch.positions, keys_[group]);
  bool whole = true;
  for (size_t i = 0; i < batch.slices.size(); ++i) {
    const SliceHead& head = batch.slices[i];
    const auto slots = std::span(batch.slots)
                           .subspan(static_cast<size_t>(head.row), static_cast<size_t>(head.rows));
    const auto table = batch.tables[group].row(static_cast<int32_t>(i));
    // No row stands before the first one, and none reads keys before the first of that.
    whole &= check_table(table, capacity_.groups[group], slots, keys_[group].of(head.row)[0].begin);
    slices_[group].push_back(
        {.row = head.row, .rows = head.rows, .write_from = head.write_from, .table = table});
  }
  if (!whole) fill_tables(batch, group);
  rows_[group] = {.slices = slices_[group],
                  .positions = batch.positions,
                  .slots = batch.slots,
                  .keys = &keys_[group],
                  .paths = paths_.slots.empty() ? nullptr : &paths_};
}

void LocalExecutor::fill_tables(const Batch& batch, size_t group) {
  const Csr<BlockId>& tables = batch.tables[group];
  std::vector<BlockId>& filled = filled_tables_[group];
  filled.assign(tables.values.begin(), tables.values.end());
  for (size_t i = 0; i < batch.slices.size(); ++i) {
    const auto begin = static_cast<size_t>(tables.offsets[i]);
    const auto table =
        std::span(filled).subspan(begin, static_cast<size_t>(tables.offsets[i + 1]) - begin);
    std::ranges::replace_if(
        table, [](BlockId block) { return !block.valid(); }, table.back());
    slices_[group][i].table = table;
  }
}

void LocalExecutor::prepare_states(const Batch& batch, size_t group) {
  const KvGroup& states = capacity_.groups[group];
  const auto number_of = [&](BlockId unit) {
    CHECK(unit.valid() && unit.value < states.units, "state {} of {}", unit, states.units);
    written_units_.push_back(unit.value);
    return unit.value;
  };
  CHECK(paths_.slots.empty(), "a draft of a model with states that is no chain");
  state_slices_.clear();
  saves_.clear();
  saves_.reserve(batch.saves.size());
  written_units_.clear();
  size_t save = 0;
  for (size_t i = 0; i < batch.slices.size(); ++i) {
    const SliceHead& head = batch.slices[i];
    const auto table = batch.tables[group].row(static_cast<int32_t>(i));
    CHECK(table.size() == 1, "{} states of a sequence", table.size());
    const size_t first = saves_.size();
    for (; save < batch.saves.size() && batch.saves[save].slice == static_cast<int32_t>(i);
         ++save) {
      const StateSave& kept = batch.saves[save];
      const int32_t least = saves_.size() > first ? saves_.back().rows : 1;
      const int32_t most = head.rows - head.draft_rows;
      CHECK(kept.rows >= least && kept.rows <= most, "a state after {} of {} rows", kept.rows,
            most);
      saves_.push_back({.rows = kept.rows, .unit = number_of(kept.unit)});
    }
    state_slices_.push_back({.row = head.row,
                             .rows = head.rows,
                             .unit = number_of(table[0]),
                             .begins = batch.positions[static_cast<size_t>(head.row)] == 0,
                             .saves = std::span(saves_).subspan(first)});
  }
  CHECK(save == batch.saves.size(), "saves of slices that the batch does not have");
  std::ranges::sort(written_units_);
  CHECK(std::ranges::adjacent_find(written_units_) == written_units_.end(),
        "two states are written to one unit");
  state_rows_ = {.slices = state_slices_};
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
