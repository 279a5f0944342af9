#include "decode/drafting/drafting.h"

#include <algorithm>

namespace millrace {

void Drafting::propose(Plan& plan) {
  for (size_t method = 0; method < proposers_.size(); ++method) {
    Proposer& proposer = *proposers_[method];
    slots_.clear();
    slices_.clear();
    for (PlannedSlice& slice : plan.slices) {
      if (!may_draft(slice, proposer)) continue;
      slots_.push_back({.sequence = slice.sequence,
                        .nodes_max = std::min(options_.nodes_max, plan.rows_left),
                        .depth_max = depth_of(*slice.sequence)});
      slices_.push_back(&slice);
    }
    if (slots_.empty() || plan.rows_left == 0) continue;
    proposer.propose(slots_);
    for (size_t i = 0; i < slots_.size(); ++i) {
      for (DraftNode& node : slots_[i].nodes) node.method = static_cast<int32_t>(method);
      const auto begin = static_cast<int32_t>(plan.nodes.size());
      plan.nodes.insert(plan.nodes.end(), slots_[i].nodes.begin(), slots_[i].nodes.end());
      slices_[i]->draft = {begin, static_cast<int32_t>(plan.nodes.size())};
    }
  }
}

// A draft whose first token would be the last one to come saves nothing.
bool Drafting::may_draft(const PlannedSlice& slice, const Proposer& proposer) const {
  const Sequence& sequence = *slice.sequence;
  const std::string& named = sequence.request->draft_method;
  const bool is_chosen =
      named.empty() ? &proposer == proposers_.front().get() : named == proposer.method();
  return is_chosen && sequence.generated() > 0 && slice.computes_all() && depth_of(sequence) > 0;
}

// The last token that may come need not be guessed: its row would not be drawn from.
int32_t Drafting::depth_of(const Sequence& sequence) const {
  const int64_t left = sequence.request->stop.tokens_max - sequence.generated() - 1;
  return static_cast<int32_t>(std::min<int64_t>(options_.depth_max, left));
}

void Drafting::forget(const Sequence& sequence) {
  for (const auto& proposer : proposers_) proposer->forget(sequence);
}

}  // namespace millrace
