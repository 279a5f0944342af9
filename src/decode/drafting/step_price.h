#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/cost/cost_model.h"
#include "core/plan.h"

namespace millrace {

// What a step would take with drafts, for the sequences that decode in it: their rows alone, and
// what the drafts' rows add to the whole step, whatever prompts are computed beside.
class StepPrice {
 public:
  StepPrice(const CostModel& cost, const Plan& plan);

  bool is_known() const { return cost_.knows(); }
  double ms(int64_t draft_rows, int64_t draft_keys) const;
  // Tokens that come without drafts: one for each sequence that decodes.
  double tokens() const { return decoding_.wants; }

 private:
  const CostModel& cost_;
  StepShape decoding_, whole_;
};

// A node that competes for a row of the step.
struct Candidate {
  size_t tree = 0;
  int32_t node = 0;
  double survival = 0;
  int64_t keys = 0;  // that its row reads
};

// How many of the first candidates, at least `taken`, make the step yield most tokens a
// millisecond; all of them where the price is not known. Pre: those behind the first `taken` are
// sorted, the likeliest first.
size_t most_worthwhile(std::span<const Candidate> candidates, size_t taken, const StepPrice& price);

}  // namespace millrace
