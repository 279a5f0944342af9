#include "decode/drafting/step_price.h"

#include <algorithm>

namespace millrace {
namespace {

// Of the nodes that seem to pay best some only seem to.
constexpr double kCaution = 1.1;

StepShape with(StepShape shape, int64_t rows, int64_t wants, int64_t keys) {
  shape.rows += static_cast<int32_t>(rows);
  shape.wants += static_cast<int32_t>(wants);
  shape.keys += keys;
  return shape;
}

}  // namespace

StepPrice::StepPrice(const CostModel& cost, const Plan& plan) : cost_(cost) {
  for (const PlannedSlice& slice : plan.slices) {
    const bool draws = slice.computes_all();
    const int64_t keys = slice.known_rows * (slice.sequence->computed + slice.known_rows);
    whole_ = with(whole_, slice.known_rows, draws ? 1 : 0, keys);
    if (!draws || slice.sequence->generated() == 0) continue;
    decoding_ = with(decoding_, slice.known_rows, 1, keys);
  }
}

double StepPrice::ms(int64_t draft_rows, int64_t draft_keys) const {
  const double drafts =
      cost_.ms(with(whole_, draft_rows, draft_rows, draft_keys)) - cost_.ms(whole_);
  return cost_.ms(decoding_) + kCaution * std::max(drafts, 0.0);
}

size_t most_worthwhile(std::span<const Candidate> candidates, size_t taken,
                       const StepPrice& price) {
  if (!price.is_known()) return candidates.size();
  double tokens = price.tokens();
  int64_t keys = 0;
  double best_rate = 0;
  size_t best = taken;
  for (size_t i = 0; i <= candidates.size(); ++i) {
    const double rate = tokens / price.ms(static_cast<int64_t>(i), keys);
    if (i >= taken && rate > best_rate) {
      best_rate = rate;
      best = i;
    }
    if (i == candidates.size()) break;
    tokens += candidates[i].survival;
    keys += candidates[i].keys;
  }
  return best;
}

}  // namespace millrace
