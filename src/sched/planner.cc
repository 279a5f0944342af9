#include "sched/planner.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "base/check.h"

namespace millrace {

Planner::Planner(std::unique_ptr<Policy> policy, Limits limits)
    : policy_(std::move(policy)), limits_(limits) {
  CHECK(limits_.rows_max > 0 && limits_.sequences_max > 0 && limits_.long_prefill_rows > 0,
        "a step must be able to do something");
}

void Planner::plan(std::span<Sequence* const> live, Ledger& ledger, Instant now, Flight& flight) {
  flight.clear();
  rank(live, ledger, now);
  share_rows(ledger);
  place(ledger, flight.plan);
  flight.plan.rows_left = static_cast<int32_t>(rows_left_ + rows_kept_);
  CHECK(ranked_.empty() || !flight.plan.slices.empty(), "a step that computes nothing");
}

void Planner::rank(std::span<Sequence* const> live, const Ledger& ledger, Instant now) {
  ranked_.clear();
  for (Sequence* sequence : live) {
    if (sequence->awaits_fork()) continue;
    const int64_t found = ledger.holds(sequence->id) ? 0 : sequence->findable;
    ranked_.push_back({policy_->rank(*sequence, now), sequence, sequence->pending() - found});
  }
  std::ranges::sort(ranked_, [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.sequence->id < b.sequence->id;
  });
}

// After the sequences that decode, half of the rows go to the first prompt and half to those of its
// level that have at most half as much left: sharing then saves them more time than it costs the
// first. What they do not take goes to the first, and what the first does not take to all.
void Planner::share_rows(const Ledger& ledger) {
  Candidate* first = share_among_decoding(ledger);
  if (first == nullptr) return;
  rows_kept_ = rows_for_drafts(ledger);
  rows_left_ -= rows_kept_;
  share_among_prompts(*first, ledger);
}

// Prompts leave an eighth of their rows to the drafts of the sequences that decode in it, as far as
// these can use so much.
int64_t Planner::rows_for_drafts(const Ledger& ledger) const {
  const auto decoding = std::ranges::count_if(ranked_, [&](const Candidate& candidate) {
    const Sequence& sequence = *candidate.sequence;
    const bool may_draft = sequence.generated() > 0 && sequence.request->draft_method != "none";
    return may_draft && decodes(candidate, ledger);
  });
  return std::min<int64_t>(decoding * limits_.draft_depth_max, rows_left_ / 8);
}

void Planner::share_among_prompts(Candidate& first, const Ledger& ledger) {
  const bool is_long = first.left > limits_.long_prefill_rows;
  if (is_long) {
    give(first, rows_left_ / 2, ledger);
    for (Candidate* other : prompts_) {
      if (rows_left_ == 0) break;
      const bool is_shorter =
          other->rank.level == first.rank.level && other->left <= first.left / 2;
      if (!is_shorter || ledger.will_share(*other->sequence, *first.sequence)) continue;
      give(*other, rows_left_, ledger);
    }
  }
  give(first, rows_left_, ledger);
  for (Candidate* other : prompts_) give(*other, rows_left_, ledger);
}

// A row for each, or those that it was ahead by and lost, and a row for the first prompt, so that
// the sequence that ranks first always computes. Collects the other prompts.
Planner::Candidate* Planner::share_among_decoding(const Ledger& ledger) {
  rows_left_ = limits_.rows_max;
  rows_kept_ = 0;
  sequences_left_ = limits_.sequences_max;
  prompts_.clear();
  Candidate* first = nullptr;
  for (Candidate& candidate : ranked_) {
    if (decodes(candidate, ledger)) {
      give(candidate, candidate.left, ledger);
    } else if (first == nullptr) {
      first = &candidate;
      give(candidate, 1, ledger);
    } else {
      prompts_.push_back(&candidate);
    }
  }
  sort_by_length();
  return first;
}

bool Planner::decodes(const Candidate& candidate, const Ledger& ledger) const {
  const int64_t rows_max = candidate.sequence->generated() > 0 ? 1 + limits_.draft_depth_max : 1;
  return candidate.left <= rows_max && ledger.holds(candidate.sequence->id);
}

// First come, first served among prompts of about one length, and among all that are short.
void Planner::sort_by_length() {
  const auto key = [this](const Candidate* candidate) {
    const auto length = static_cast<uint64_t>((candidate->left - 1) / limits_.long_prefill_rows);
    return std::tuple(candidate->rank.level, std::bit_width(length), candidate);
  };
  std::ranges::sort(prompts_, {}, key);
}

void Planner::give(Candidate& candidate, int64_t rows, const Ledger& ledger) {
  const bool is_new = candidate.rows == 0;
  if (std::min(rows, rows_left_) == 0 || (is_new && sequences_left_ == 0)) return;
  if (is_new && !ledger.holds(candidate.sequence->id)) {
    ledger.look_up(*candidate.sequence);
    candidate.left = candidate.sequence->known() - candidate.sequence->findable;
  }
  const int64_t given = std::min({rows, candidate.left - candidate.rows, rows_left_});
  if (is_new) --sequences_left_;
  candidate.rows += given;
  rows_left_ -= given;
}

void Planner::fit(Ledger& ledger, Plan& plan) const {
  for (PlannedSlice& slice : plan.slices) {
    const auto nodes = plan.draft_of(slice);
    const int32_t wanted = ledger.keeps_states() ? leading_chain(nodes) : slice.draft.size();
    const int64_t rows = std::min(wanted, plan.rows_left);
    const int64_t placed = rows > 0 ? ledger.place_draft(slice.sequence->id, rows) : 0;
    slice.draft.end = slice.draft.begin + static_cast<int32_t>(placed);
    plan.rows_left -= slice.draft.size();
  }
}

// Rows for which there is no memory go to the holders ranked below.
void Planner::place(Ledger& ledger, Plan& plan) {
  for (size_t i = 0; i < ranked_.size(); ++i) {
    Candidate& candidate = ranked_[i];
    Sequence& sequence = *candidate.sequence;
    const bool holds = ledger.holds(sequence.id);
    if (holds) give(candidate, rows_left_, ledger);
    if (candidate.rows == 0) continue;
    const bool waits = plan.short_of_memory && !holds;
    const int64_t rows = waits ? 0 : place_one(i, ledger, plan);
    plan.short_of_memory |= rows < std::min(candidate.rows, sequence.pending());
    rows_left_ += candidate.rows - rows;
    if (rows > 0) {
      plan.slices.push_back({&sequence, static_cast<int32_t>(rows)});
    } else {
      ++sequences_left_;
    }
  }
}

// A newcomer leaves to each sequence that runs the units that it has yet to fill, so that none is
// preempted for want of them.
int64_t Planner::place_one(size_t i, Ledger& ledger, Plan& plan) {
  const Candidate& candidate = ranked_[i];
  const int64_t rows = ledger.place(*candidate.sequence, candidate.rows, reserved(ledger));
  if (rows > 0) return rows;
  choose_victims(i, ledger);
  if (victims_.empty()) return 0;
  for (Sequence* victim : victims_) ledger.preempt(*victim);
  plan.preempted += static_cast<int32_t>(victims_.size());
  plan.short_of_memory = true;
  return ledger.place(*candidate.sequence, candidate.rows, reserved(ledger));
}

UnitCounts Planner::reserved(const Ledger& ledger) const {
  UnitCounts units;
  for (const Candidate& candidate : ranked_) units += ledger.reserve(*candidate.sequence);
  return units;
}

// Of the holders ranked below, the lowest that make room together, without those whose blocks are
// not needed for it; none if all together make none. A newcomer waits for those of its level: what
// they computed would be lost for what it could begin later.
void Planner::choose_victims(size_t i, const Ledger& ledger) {
  victims_.clear();
  const bool is_new = !ledger.holds(ranked_[i].sequence->id);
  for (size_t below = ranked_.size(); --below > i;) {
    const auto& [rank, sequence, left, rows] = ranked_[below];
    if (is_new && rank.level == ranked_[i].rank.level) break;
    if (ledger.holds(sequence->id)) victims_.push_back(sequence);
  }
  const UnitCounts all_reserved = reserved(ledger);
  const auto has_room = [&](size_t count) {
    const auto victims = std::span(victims_).first(count);
    UnitCounts spare = all_reserved;
    for (const Sequence* victim : victims) spare -= ledger.reserve(*victim);
    return ledger.has_room_without(victims, *ranked_[i].sequence, spare);
  };
  if (victims_.empty() || !has_room(victims_.size())) {
    victims_.clear();
    return;
  }
  size_t lowest = 1;
  while (!has_room(lowest)) ++lowest;
  victims_.resize(lowest);
  for (size_t last = victims_.size(); last-- > 0;) {
    const auto at = victims_.begin() + static_cast<std::ptrdiff_t>(last);
    Sequence* victim = *at;
    victims_.erase(at);
    if (!has_room(victims_.size())) victims_.insert(at, victim);
  }
}

}  // namespace millrace
