#include "decode/drafting/drafting.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace millrace {
namespace {

// A run that came before goes on as it did the more surely the longer it is, and it is longer with
// each token of the draft that holds.
Guess guess_of(size_t method, const DraftSlot& slot, size_t node, int32_t depth) {
  const auto run = static_cast<float>(slot.matched + depth - 1);
  const float certainty = slot.matched > 0 ? run / (run + 1) : 1;
  return {.method = static_cast<int32_t>(method),
          .depth = depth,
          .chance = slot.chances[node] * certainty};
}

}  // namespace

Drafting::Drafting(const DraftingOptions& options, Proposers proposers, const CostModel& cost,
                   const Clock& clock)
    : options_(options),
      proposers_(std::move(proposers)),
      cost_(cost),
      clock_(clock),
      acceptance_(proposers_.size()),
      asked_(proposers_.size()),
      probes_(proposers_.size()) {}

void Drafting::propose(Plan& plan) {
  collect(plan);
  if (work_count_ == 0) return;
  const StepPrice price(cost_, plan);
  for (size_t method = 0; method < proposers_.size(); ++method) {
    ask(method, plan.rows_left, price, plan);
  }
  const size_t best = choose_best(plan.rows_left, price);
  for (const Candidate& candidate : std::span(candidates_).first(best)) {
    works_[candidate.tree].tree.choose(candidate.node);
  }
  write(plan);
}

void Drafting::collect(const Plan& plan) {
  for (Asked& asked : asked_) asked.clear();
  work_count_ = 0;
  if (proposers_.empty() || plan.rows_left == 0) return;
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Sequence& sequence = *plan.slices[i].sequence;
    if (sequence.generated() == 0 || !plan.slices[i].computes_all()) continue;
    const int32_t depth = depth_of(sequence);
    const std::string& named = sequence.request->draft_method;
    if (depth <= 0 || named == "none") continue;
    if (works_.size() == work_count_) works_.emplace_back();
    Work& work = works_[work_count_++];
    work.slice = i;
    work.sequence = &sequence;
    work.is_auto = named.empty() ? options_.automatic : named == "auto";
    work.depth_max = depth;
    work.tree.clear();
  }
}

// The last token that may come need not be guessed: its row would not be drawn from.
int32_t Drafting::depth_of(const Sequence& sequence) const {
  const int64_t left = sequence.request->stop.tokens_max - sequence.generated() - 1;
  return static_cast<int32_t>(std::min<int64_t>(options_.depth_max, left));
}

bool Drafting::is_asked(const Work& work, const Proposer& proposer) const {
  const std::string& named = work.sequence->request->draft_method;
  return named.empty() || named == "auto" || named == proposer.method();
}

void Drafting::ask(size_t method, int32_t rows_left, const StepPrice& price, Plan& plan) {
  Proposer& proposer = *proposers_[method];
  Asked& asked = asked_[method];
  for (size_t i = 0; i < work_count_; ++i) {
    if (!is_asked(works_[i], proposer)) continue;
    asked.slots.push_back({.sequence = works_[i].sequence,
                           .nodes_max = std::min(options_.nodes_max, rows_left),
                           .depth_max = works_[i].depth_max});
    asked.works.push_back(i);
  }
  const Instant began = clock_.now();
  if (price.is_known()) limit_depths(method, rows_left, price);
  drop_unwanted(asked);
  if (!asked.slots.empty()) proposer.propose(asked.slots);
  plan.draft_times.resize(proposers_.size());
  plan.draft_times[method] = clock_.now() - began;
  merge(method);
}

void Drafting::drop_unwanted(Asked& asked) {
  size_t kept = 0;
  for (size_t i = 0; i < asked.slots.size(); ++i) {
    if (asked.slots[i].depth_max == 0) continue;
    std::swap(asked.slots[kept], asked.slots[i]);
    asked.works[kept++] = asked.works[i];
  }
  asked.slots.resize(kept);
  asked.works.resize(kept);
}

void Drafting::merge(size_t method) {
  const Asked& asked = asked_[method];
  for (size_t i = 0; i < asked.slots.size(); ++i) {
    const DraftSlot& slot = asked.slots[i];
    DraftTree& tree = works_[asked.works[i]].tree;
    path_.clear();  // [nodes of the slot] where they are in the tree
    for (size_t n = 0; n < slot.nodes.size(); ++n) {
      const DraftNode& node = slot.nodes[n];
      const int32_t parent = node.parent < 0 ? -1 : path_[static_cast<size_t>(node.parent)];
      const int32_t depth = parent < 0 ? 1 : tree.nodes()[static_cast<size_t>(parent)].depth + 1;
      const Guess guess = guess_of(method, slot, n, depth);
      path_.push_back(
          tree.add(node.token, parent, guess.method, acceptance_.of(slot.sequence->id, guess)));
    }
  }
}

// The nodes of the sequence that compete, the likeliest first: as many as a draft may have, and
// where states are kept those of one path.
void Drafting::list_candidates(size_t work) {
  const DraftTree& tree = works_[work].tree;
  const auto nodes = tree.nodes();
  if (options_.chains_only) {
    tree.list_likeliest_path(path_);
  } else {
    path_.resize(nodes.size());
    std::iota(path_.begin(), path_.end(), 0);
    std::ranges::stable_sort(path_, std::ranges::greater(), [nodes](int32_t node) {
      return nodes[static_cast<size_t>(node)].survival;
    });
  }
  path_.resize(std::min(path_.size(), static_cast<size_t>(options_.nodes_max)));
  for (const int32_t node : path_) {
    candidates_.push_back({.tree = work,
                           .node = node,
                           .survival = nodes[static_cast<size_t>(node)].survival,
                           .keys = works_[work].sequence->known()});
  }
}

// Lists the candidates in the order in which they are taken; returns how many are.
size_t Drafting::choose_best(int32_t rows_left, const StepPrice& price) {
  candidates_.clear();
  for (size_t i = 0; i < work_count_; ++i) {
    if (!works_[i].is_auto) list_candidates(i);
  }
  const size_t named = candidates_.size();
  for (size_t i = 0; i < work_count_; ++i) {
    if (works_[i].is_auto) list_candidates(i);
  }
  const auto competing = std::span(candidates_).subspan(named);
  std::ranges::stable_sort(competing, std::ranges::greater(), &Candidate::survival);
  const auto rows = std::max(static_cast<size_t>(rows_left), named);
  const auto fitting = std::span(candidates_).first(std::min(candidates_.size(), rows));
  return most_worthwhile(fitting, named, price);
}

void Drafting::write(Plan& plan) const {
  for (size_t i = 0; i < work_count_; ++i) {
    const auto begin = static_cast<int32_t>(plan.nodes.size());
    const int32_t count = works_[i].tree.list_chosen(plan.nodes);
    plan.slices[works_[i].slice].draft = {begin, begin + count};
  }
}

void Drafting::learn(const Flight& flight) {
  for (size_t method = 0; method < proposers_.size(); ++method) {
    const Asked& asked = asked_[method];
    for (size_t i = 0; i < asked.slots.size(); ++i) {
      learn_from(method, asked.slots[i], flight.verdict.outcomes[works_[asked.works[i]].slice],
                 flight);
    }
  }
  acceptance_.step();
}

// Follows the tokens that came through the guesses for as long as these hold.
void Drafting::learn_from(size_t method, const DraftSlot& slot, const Outcome& outcome,
                          const Flight& flight) {
  int32_t parent = -1;
  for (int32_t i = outcome.draws.begin; i < outcome.draws.end; ++i) {
    const auto draw = static_cast<size_t>(flight.verdict.draws[static_cast<size_t>(i)]);
    const TokenId token = flight.output.drawn[draw].token;
    int32_t held = -1;
    bool is_likeliest = true;
    for (size_t n = 0; n < slot.nodes.size(); ++n) {
      const DraftNode& node = slot.nodes[n];
      if (node.parent != parent) continue;
      if (node.token == token) held = static_cast<int32_t>(n);
      acceptance_.observe(slot.sequence->id, guess_of(method, slot, n, i - outcome.draws.begin + 1),
                          std::exchange(is_likeliest, false), node.token == token);
    }
    if (held < 0) return;
    parent = held;
  }
}

void Drafting::forget(const Sequence& sequence) {
  for (const auto& proposer : proposers_) proposer->forget(sequence);
  acceptance_.forget(sequence.id);
  if (sequence.awaits_fork() || sequence.generated() == 0) return;
  answer_tokens_ += (static_cast<double>(sequence.generated()) - answer_tokens_) / 16;
}

}  // namespace millrace
