// How far a proposer that takes time guesses ahead, where drafts have to pay.

#include <algorithm>

#include "decode/drafting/drafting.h"

namespace millrace {
namespace {

constexpr double kMargin = 1.03;  // by which guessing must promise more than going without
constexpr double kSurest = 0.95;  // a path so likely always goes on

// One time in a hundred goes into trying what does not seem to pay.
constexpr double kProbing = 0.01;
constexpr int32_t kProbeSteps = 6;  // in a row, as reading what came before is the dear part
constexpr double kProbeSurvival = 0.3;

}  // namespace

// What an answer has in the mean; of one that has said more, half as many again.
double Drafting::tokens_to_come(const Sequence& sequence) const {
  const auto said = static_cast<double>(sequence.generated());
  const auto left = static_cast<double>(sequence.request->stop.tokens_max) - said;
  return std::min(std::max(answer_tokens_ - said, said / 2), left);
}

// Of the method's likeliest guesses, one a depth.
Drafting::Yield Drafting::expected_of(size_t method, const Work& work, int32_t depth) const {
  Yield yield{.rows = depth, .keys = depth * work.sequence->known()};
  double survival = 1;
  for (int32_t at = 1; at <= depth; ++at) {
    survival *= acceptance_.before(work.sequence->id, static_cast<int32_t>(method), at);
    yield.tokens += survival;
  }
  return yield;
}

// What the trees yield as they are.
std::vector<Drafting::Yield> Drafting::yields(int32_t rows_left, const StepPrice& price) {
  std::vector<Yield> of_works(work_count_);
  const size_t best = choose_best(rows_left, price);
  for (const Candidate& candidate : std::span(candidates_).first(best)) {
    of_works[candidate.tree].add({candidate.survival, 1, candidate.keys});
  }
  return of_works;
}

// Tries each depth: slots whose sequences would gain by it, what they have yet to read included,
// are asked, to go on for as long as a path is likely enough to pay for a level and a row more.
// Those that would not gain, and all if no depth pays, get a depth of 0.
void Drafting::limit_depths(size_t method, int32_t rows_left, const StepPrice& price) {
  Asked& asked = asked_[method];
  Proposer& proposer = *proposers_[method];
  if (proposer.cost_of(asked.slots).ms == 0) return;
  const std::vector<Yield> without = yields(rows_left, price);
  Yield sum{.tokens = price.tokens()};
  for (const Yield& yield : without) sum.add(yield);
  const double ms_a_token = price.ms(sum.rows, sum.keys) / sum.tokens;

  std::vector<double> catch_up_ms;  // [slots] for each token to come
  for (const DraftSlot& slot : asked.slots) {
    catch_up_ms.push_back(proposer.cost_of({&slot, 1}).catch_up_ms /
                          tokens_to_come(*slot.sequence));
  }
  double least_ms = ms_a_token / kMargin;
  double survival_min = 0;
  std::vector<int32_t> best(asked.slots.size());
  for (int32_t depth = 1; depth <= options_.depth_max; ++depth) {
    Yield with = sum;
    double extra_ms = 0;
    for (size_t i = 0; i < asked.slots.size(); ++i) {
      const Work& work = works_[asked.works[i]];
      if (!work.is_auto) continue;
      const int32_t reach = std::min(depth, work.depth_max);
      const Yield own = expected_of(method, work, reach);
      const Yield& replaced = without[asked.works[i]];
      const double reading_ms = catch_up_ms[i] * (1 + own.tokens);
      const bool gains = (own.tokens - replaced.tokens) * ms_a_token > reading_ms;
      asked.slots[i].depth_max = gains ? reach : 0;
      if (!gains) continue;
      with.add(own);
      with.take(replaced);
      extra_ms += reading_ms;
    }
    const double ms =
        (price.ms(with.rows, with.keys) + proposer.cost_of(asked.slots).ms + extra_ms) /
        with.tokens;
    if (ms >= least_ms) continue;
    least_ms = ms;
    const auto asking =
        static_cast<double>(asked.slots.size() - static_cast<size_t>(std::ranges::count(
                                                     asked.slots, 0, &DraftSlot::depth_max)));
    const double level_ms = proposer.cost_of(asked.slots).ms / depth / std::max(asking, 1.0);
    const double row_ms = price.ms(with.rows + 1, with.keys) - price.ms(with.rows, with.keys);
    survival_min = std::min((level_ms + row_ms) / ms, kSurest);
    for (size_t i = 0; i < best.size(); ++i) best[i] = asked.slots[i].depth_max;
  }
  for (size_t i = 0; i < best.size(); ++i) {
    const Work& work = works_[asked.works[i]];
    if (!work.is_auto) continue;
    asked.slots[i].depth_max = best[i] > 0 ? work.depth_max : 0;
    asked.slots[i].survival_min = survival_min;
  }
  if (std::ranges::count(best, 0) == std::ssize(best)) probe(method, price.ms(0, 0));
}

// Of the slots that are not asked, one that has least to read gets some steps once time enough was
// saved for it.
void Drafting::probe(size_t method, double step_ms) {
  Asked& asked = asked_[method];
  Probe& probe = probes_[method];
  Proposer& proposer = *proposers_[method];
  probe.saved_ms += kProbing * step_ms;
  DraftSlot* chosen = nullptr;
  double least_ms = probe.saved_ms;
  for (size_t i = 0; i < asked.slots.size(); ++i) {
    DraftSlot& slot = asked.slots[i];
    const Work& work = works_[asked.works[i]];
    if (!work.is_auto) continue;
    slot.depth_max = 1;
    const DraftCost cost = proposer.cost_of({&slot, 1});
    slot.depth_max = 0;
    const double ms = cost.catch_up_ms + 2 * kProbeSteps * cost.ms;
    const bool goes_on = probe.steps_left > 0 && slot.sequence->id == probe.sequence;
    if (!goes_on && ms > least_ms) continue;
    chosen = &slot;
    least_ms = goes_on ? 0 : ms;
  }
  if (chosen == nullptr) {
    probe.steps_left = 0;
    return;
  }
  if (least_ms > 0) {
    probe.saved_ms -= least_ms;
    probe.steps_left = kProbeSteps;
    probe.sequence = chosen->sequence->id;
  }
  --probe.steps_left;
  chosen->depth_max = depth_of(*chosen->sequence);
  chosen->survival_min = kProbeSurvival;
}

}  // namespace millrace
