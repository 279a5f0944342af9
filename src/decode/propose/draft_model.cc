#include "decode/propose/draft_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"

namespace millrace {
namespace {

// How many leading tokens agree.
int64_t agreed(std::span<const TokenId> a, std::span<const TokenId> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

// Leading nodes that all paths of the tree to `nodes` go through. Pre: at least one.
std::vector<int32_t> shared_path(const GrowingTree& tree, std::span<const int32_t> nodes) {
  std::vector<int32_t> shared = tree.path_to(nodes[0]);
  for (const int32_t node : nodes.subspan(1)) {
    const std::vector<int32_t> path = tree.path_to(node);
    shared.erase(std::ranges::mismatch(shared, path).in1, shared.end());
  }
  return shared;
}

}  // namespace

absl::Status DraftModelProposer::supports(std::span<const KvGroup> groups) {
  RETURN_IF_ERROR(Ledger::supports(groups));
  if (std::ranges::count(groups, KvKind::kState, &KvGroup::kind) > 0) {
    return unimplemented("a draft model that keeps states (recurrent layers)");
  }
  return absl::OkStatus();
}

DraftModelProposer::DraftModelProposer(const DraftModelOptions& options, Executor& executor,
                                       const Clock& clock)
    : options_(options),
      executor_(executor),
      clock_(clock),
      ledger_(executor.capacity().groups, {.prefix_caching = options.prefix_caching}) {}

void DraftModelProposer::propose(std::span<DraftSlot> slots) {
  if (is_broken_) return;
  begin(slots);
  if (const absl::Status status = catch_up(); !status.ok()) return fail(status);
  int32_t levels = 0;
  for (const DraftSlot& slot : slots) levels = std::max(levels, slot.depth_max);
  for (int32_t level = 1; level < levels; ++level) {
    if (const absl::Status status = grow(); !status.ok()) return fail(status);
  }
  for (const Growth& growth : growths_) {
    if (growth.tree.depth() >= options_.depth_min) growth.tree.give(*growth.slot);
  }
}

void DraftModelProposer::fail(const absl::Status& status) {
  is_broken_ = true;
  spdlog::error("the draft model has failed, and drafts no more: {}", message_of(status));
}

void DraftModelProposer::begin(std::span<DraftSlot> slots) {
  growths_.resize(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    Growth& growth = growths_[i];
    growth.slot = &slots[i];
    growth.mirror = &mirror_of(*slots[i].sequence);
    growth.tree.begin(slots[i].nodes_max, slots[i].depth_max, slots[i].survival_min);
    growth.can_grow = false;
    follow(*slots[i].sequence, *growth.mirror);
  }
}

DraftModelProposer::Mirror& DraftModelProposer::mirror_of(const Sequence& sequence) {
  std::unique_ptr<Mirror>& mirror = mirrors_[sequence.id];
  if (mirror != nullptr) return *mirror;
  mirror = std::make_unique<Mirror>();
  Sequence& own = mirror->sequence;
  own.id = sequence.id;
  own.request_id = sequence.request_id;
  own.choice = sequence.choice;
  own.request = sequence.request;
  own.prompt_scored = own.prompt() - 1;  // no row but the last is ever wanted
  return *mirror;
}

// Takes back what was drafted and is not what came, and takes in what did.
void DraftModelProposer::follow(const Sequence& sequence, Mirror& mirror) {
  Sequence& own = mirror.sequence;
  const int64_t known = agreed(own.tokens, sequence.tokens);
  own.tokens.resize(static_cast<size_t>(known));
  own.tokens.insert(own.tokens.end(), sequence.tokens.begin() + known, sequence.tokens.end());
  mirror.is_readable &= std::all_of(own.tokens.begin() + known, own.tokens.end(),
                                    [&](TokenId token) { return token < options_.vocab_size; });
  own.computed = std::min({own.computed, known, own.known() - 1});
  if (ledger_.holds(own.id)) ledger_.settle(own);
}

// Lets those that have least left to read go first: a long prompt takes what the others leave of a
// step.
absl::Status DraftModelProposer::catch_up() {
  std::vector<Growth*> order;
  for (Growth& growth : growths_) {
    const DraftSlot& slot = *growth.slot;
    const bool may_be_deep = std::min(slot.depth_max, slot.nodes_max) >= options_.depth_min;
    const bool has_positions = slot.sequence->known() + slot.depth_max <= options_.context_max;
    if (growth.mirror->is_readable && may_be_deep && has_positions) order.push_back(&growth);
  }
  std::ranges::stable_sort(order, {},
                           [](const Growth* growth) { return growth->mirror->sequence.pending(); });
  const Capacity& capacity = executor_.capacity();
  plan_.clear();
  questions_.clear();
  plan_.rows_left = capacity.rows_max;
  for (Growth* growth : order) {
    if (plan_.rows_left == 0 || std::ssize(plan_.slices) == capacity.sequences_max) break;
    Sequence& own = growth->mirror->sequence;
    const int64_t rows = place_next(*growth->mirror, plan_.rows_left);
    if (rows == 0) continue;
    plan_.rows_left -= static_cast<int32_t>(rows);
    if (rows == own.pending()) {
      growth->can_grow = true;
      questions_.push_back({.growth = growth,
                            .node = GrowingTree::kRoot,
                            .slice = static_cast<int32_t>(plan_.slices.size()),
                            .row = static_cast<int32_t>(rows) - 1});
    }
    plan_.slices.push_back({&own, static_cast<int32_t>(rows)});
  }
  if (plan_.slices.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(run_step());
  for (const PlannedSlice& slice : plan_.slices) {
    Sequence& own = *slice.sequence;
    own.advance(slice.known_rows);
    // The last known token's row is computed again where a tree branches behind it, so what it
    // reads must stay: those that have caught up are settled by follow().
    if (own.pending() > 0) ledger_.settle(own);
  }
  read_answers();
  return absl::OkStatus();
}

// Rows that a mirror may compute, 0 if there is no room for it even without those of sequences that
// nobody asks for in this step; then it leaves what it holds to others, rather than wait with it.
int64_t DraftModelProposer::place_next(Mirror& mirror, int64_t rows_left) {
  Sequence& own = mirror.sequence;
  if (!ledger_.holds(own.id) && will_find_more(own)) return 0;
  const auto place = [&] {
    const UnitCounts spare = ledger_.holds(own.id) ? UnitCounts() : reserved();
    const int64_t rows = ledger_.place(own, std::min(rows_left, own.pending()), spare);
    return rows == std::min(rows_left, own.pending()) ? rows : 0;
  };
  if (const int64_t rows = place(); rows > 0) return rows;
  for (const auto& [id, other] : mirrors_) {
    const bool is_asked = std::ranges::count(growths_, other.get(), &Growth::mirror) > 0;
    if (!is_asked) give_up(other->sequence);
  }
  const int64_t rows = place();
  if (rows == 0) give_up(own);
  return rows;
}

void DraftModelProposer::give_up(Sequence& own) {
  ledger_.release(own.id);
  own.computed = 0;
}

// Whether it could begin with what another computes in this step: choices of one prompt do.
bool DraftModelProposer::will_find_more(const Sequence& newcomer) const {
  return std::ranges::any_of(plan_.slices, [&](const PlannedSlice& slice) {
    return ledger_.will_share(newcomer, *slice.sequence);
  });
}

UnitCounts DraftModelProposer::reserved() const {
  UnitCounts units;
  for (const auto& [id, mirror] : mirrors_) units += ledger_.reserve(mirror->sequence);
  return units;
}

absl::Status DraftModelProposer::grow() {
  plan_.clear();
  questions_.clear();
  plan_.rows_left = executor_.capacity().rows_max;
  for (Growth& growth : growths_) {
    if (!growth.can_grow) continue;
    const auto frontier = growth.tree.frontier(options_.tree_width);
    if (!frontier.empty()) plan_growth(growth, frontier);
  }
  if (plan_.slices.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(run_step());
  for (const PlannedSlice& slice : plan_.slices) {
    Sequence& own = *slice.sequence;
    const auto draft = plan_.draft_of(slice);
    own.computed = own.known();
    // The first path of a draft lies at the slots of its positions, as known tokens do.
    for (const DraftNode& node : draft.first(static_cast<size_t>(leading_chain(draft)))) {
      own.tokens.push_back(node.token);
      ++own.computed;
    }
  }
  read_answers();
  return absl::OkStatus();
}

// The mirror takes in the path that all of the frontier shares, as if it were known; only what
// branches off behind it is computed as a draft.
void DraftModelProposer::plan_growth(Growth& growth, std::span<const int32_t> frontier) {
  const GrowingTree& tree = growth.tree;
  Sequence& own = growth.mirror->sequence;
  const std::vector<int32_t> shared = shared_path(tree, frontier);
  std::vector<TokenId> tokens = growth.slot->sequence->tokens;
  for (const int32_t node : shared) tokens.push_back(tree.node(node).token);
  const int64_t stored = std::min(own.computed, agreed(own.tokens, tokens));
  own.tokens = std::move(tokens);
  own.computed = std::min(stored, own.known() - 1);
  growth.can_grow = false;
  const int64_t rows = own.pending();
  if (rows > plan_.rows_left || ledger_.place(own, rows) < rows) return;
  const size_t asked = questions_.size();
  PlannedSlice slice = {&own, static_cast<int32_t>(rows)};
  slice.draft.begin = static_cast<int32_t>(plan_.nodes.size());
  const int32_t drafted = add_draft(tree, shared.size(), frontier, growth);
  slice.draft.end = slice.draft.begin + drafted;
  const bool has_room = rows + drafted <= plan_.rows_left &&
                        (drafted == 0 || ledger_.place_draft(own.id, drafted) == drafted);
  if (!has_room) {
    plan_.nodes.resize(static_cast<size_t>(slice.draft.begin));
    questions_.resize(asked);
    return;
  }
  growth.can_grow = true;
  plan_.rows_left -= static_cast<int32_t>(rows) + drafted;
  plan_.slices.push_back(slice);
}

// Adds the paths to the frontier behind what they share, the likeliest first, and asks for what
// follows them. Returns how many nodes those are.
int32_t DraftModelProposer::add_draft(const GrowingTree& tree, size_t shared,
                                      std::span<const int32_t> frontier, Growth& growth) {
  const int32_t rows = static_cast<int32_t>(growth.mirror->sequence.pending());
  const auto slice = static_cast<int32_t>(plan_.slices.size());
  std::vector<int32_t> added;  // nodes of the tree
  for (const int32_t node : frontier) {
    int32_t parent = -1;
    const std::vector<int32_t> path = tree.path_to(node);
    for (const int32_t step : std::span(path).subspan(shared)) {
      const auto found = std::ranges::find(added, step);
      const auto place = static_cast<int32_t>(found - added.begin());
      if (found == added.end()) {
        added.push_back(step);
        plan_.nodes.push_back({.token = tree.node(step).token, .parent = parent});
      }
      parent = place;
    }
    questions_.push_back({.growth = &growth, .node = node, .slice = slice, .row = rows + parent});
  }
  return static_cast<int32_t>(added.size());
}

absl::Status DraftModelProposer::run_step() {
  const Instant began = clock_.now();
  flatten(plan_, batch_);
  ledger_.drain(batch_);
  order_draws();
  RETURN_IF_ERROR(executor_.start(batch_));
  RETURN_IF_ERROR(executor_.finish(orders_, output_));
  const double took_ms = absl::ToDoubleMilliseconds(clock_.now() - began);
  if (took_ms > 0) cost_.observe(shape_of(batch_), took_ms);
  return absl::OkStatus();
}

void DraftModelProposer::order_draws() {
  orders_.clear();
  batch_.wants.clear();
  for (const Question& question : questions_) {
    const SliceHead& head = batch_.slices[static_cast<size_t>(question.slice)];
    orders_.draws.push_back({.want = static_cast<int32_t>(batch_.wants.size()),
                             .kind = DrawKind::kScore,
                             .logprobs = options_.tree_width});
    batch_.wants.push_back(head.row + question.row);
  }
}

void DraftModelProposer::read_answers() {
  for (size_t i = 0; i < questions_.size(); ++i) {
    Growth& growth = *questions_[i].growth;
    if (output_.drawn[i].error != RowError::kNone) {
      growth.can_grow = false;
      growth.tree.begin(growth.slot->nodes_max, growth.slot->depth_max);  // without a node
    }
    if (!growth.can_grow) continue;
    children_.clear();
    for (const TokenLogprob& token : output_.top.row(static_cast<int32_t>(i))) {
      const bool is_likely = std::exp(token.logprob) >= options_.chance_min;
      if (is_likely && token.token < options_.tokens_known) children_.push_back(token);
    }
    growth.tree.grow(questions_[i].node, children_);
  }
}

// A mirror that holds nothing could begin with what the prefix cache has.
int64_t DraftModelProposer::unread(const Sequence& sequence) {
  Mirror& mirror = mirror_of(sequence);
  Sequence& own = mirror.sequence;
  if (ledger_.holds(own.id)) return sequence.known() - own.computed;
  follow(sequence, mirror);
  ledger_.look_up(own);
  return sequence.known() - own.findable;
}

// More than a draft's worth is read once; a step reads what came since the last one.
DraftCost DraftModelProposer::cost_of(std::span<const DraftSlot> slots) {
  DraftCost cost;
  if (is_broken_ || !cost_.knows()) return cost;
  StepShape behind;
  int32_t levels = 0;
  for (const DraftSlot& slot : slots) {
    levels = std::max(levels, slot.depth_max);
    const int64_t rows = unread(*slot.sequence);
    if (slot.depth_max == 0 || rows <= 1 + slot.depth_max) continue;
    behind.rows += static_cast<int32_t>(rows);
    behind.keys += rows * (slot.sequence->known() - rows / 2);
  }
  for (int32_t level = 0; level < levels; ++level)
    cost.ms += cost_.ms(shape_of_level(slots, level));
  if (behind.rows == 0) return cost;
  const int32_t steps = (behind.rows - 1) / executor_.capacity().rows_max + 1;
  behind.rows /= steps;
  behind.keys /= steps;
  cost.catch_up_ms = steps * cost_.ms(behind);
  return cost;
}

// Of the step that finds the tokens of one level more. Behind the first a row is computed for each
// node that grows.
StepShape DraftModelProposer::shape_of_level(std::span<const DraftSlot> slots,
                                             int32_t level) const {
  StepShape shape;
  for (const DraftSlot& slot : slots) {
    if (slot.depth_max <= level) continue;
    const int32_t rows = level == 0 ? 1 : std::min(options_.tree_width, slot.nodes_max);
    shape.rows += rows;
    shape.wants += rows;
    shape.keys += rows * (slot.sequence->known() + level);
  }
  return shape;
}

// The tokens that came last stay findable for what begins alike.
void DraftModelProposer::forget(const Sequence& sequence) {
  const auto found = mirrors_.find(sequence.id);
  if (found == mirrors_.end()) return;
  Mirror& mirror = *found->second;
  if (ledger_.holds(sequence.id)) {
    follow(sequence, mirror);
    ledger_.release(sequence.id);
  }
  mirrors_.erase(found);
}

}  // namespace millrace
