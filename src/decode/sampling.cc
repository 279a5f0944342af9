#include "decode/sampling.h"

#include <algorithm>

#include "decode/stop.h"

namespace millrace {
namespace {

template <typename T>
int32_t size_of(const std::vector<T>& values) {
  return static_cast<int32_t>(values.size());
}

Sequence& fork(Sequence& parent, Sequence& child, Flight& flight) {
  child.tokens = parent.request->prompt;
  child.computed = parent.computed;
  flight.verdict.forks.push_back({parent.id, child.id});
  return child;
}

// Appends `value` and widens `range`, which ends where the values do or is empty.
void append(int32_t value, std::vector<int32_t>& values, Range& range) {
  if (range.size() == 0) range.begin = size_of(values);
  values.push_back(value);
  range.end = size_of(values);
}

// The tokens from a draft's root to a node.
void list_path(std::span<const DraftNode> nodes, int32_t node, std::vector<TokenId>& path) {
  path.clear();
  for (; node >= 0; node = nodes[static_cast<size_t>(node)].parent) {
    path.push_back(nodes[static_cast<size_t>(node)].token);
  }
  std::ranges::reverse(path);
}

// Whether a node holds what was drawn after the last one that was kept.
bool agrees(const DraftNode& node, const Outcome& outcome, const Verdict& verdict) {
  if (outcome.finish != FinishReason::kNone || outcome.error != RowError::kNone) return false;
  const auto kept = verdict.kept_of(outcome);
  const int32_t last = kept.empty() ? -1 : kept.back();
  return node.parent == last && node.token == outcome.sequence->tokens.back();
}

}  // namespace

void Sampling::choose(Flight& flight) {
  const Batch& batch = flight.batch;
  int32_t slice = 0;
  for (int32_t want = 0; want < size_of(batch.wants); ++want) {
    const int32_t row = batch.wants[static_cast<size_t>(want)];
    const auto holds_row = [&](const SliceHead& head) { return row < head.row + head.rows; };
    while (!holds_row(batch.slices[static_cast<size_t>(slice)])) ++slice;
    choose_for(slice, want, flight);
  }
}

void Sampling::choose_for(int32_t slice, int32_t want, Flight& flight) {
  const PlannedSlice& planned = flight.plan.slices[static_cast<size_t>(slice)];
  const SliceHead& head = flight.batch.slices[static_cast<size_t>(slice)];
  Sequence& sequence = *planned.sequence;
  const int32_t row = flight.batch.wants[static_cast<size_t>(want)];
  const int64_t position = flight.batch.positions[static_cast<size_t>(row)];
  if (position < sequence.known() - 1) {
    score(want, position, sequence, flight.orders);
    flight.targets.push_back({&sequence, slice});
    return;
  }
  const int32_t node = row - (head.row + planned.known_rows);
  list_path(flight.plan.draft_of(planned), std::max(node, -1), ahead_);
  draw(want, sequence, flight.orders);
  flight.targets.push_back({&sequence, slice, std::max(node, -1)});
  for (Sequence& other : sequence.choices) {
    if (!other.awaits_fork()) continue;
    draw(want, other, flight.orders);
    flight.targets.push_back({&other, slice});
  }
}

void Sampling::score(int32_t want, int64_t position, const Sequence& sequence,
                     DrawOrders& orders) const {
  const int32_t begin = size_of(orders.scored);
  orders.scored.push_back(sequence.tokens[static_cast<size_t>(position + 1)]);
  orders.draws.push_back({.want = want,
                          .kind = DrawKind::kScore,
                          .logprobs = sequence.request->prompt_logprobs,
                          .scored = {begin, begin + 1}});
}

void Sampling::draw(int32_t want, const Sequence& sequence, DrawOrders& orders) {
  const Request& request = *sequence.request;
  const SamplingParams& params = request.sampling;
  DrawOrder order{.want = want,
                  .temperature = params.temperature,
                  .top_p = params.top_p,
                  .min_p = params.min_p,
                  .typical = params.typical,
                  .repetition = params.repetition,
                  .presence = params.presence,
                  .frequency = params.frequency,
                  .top_k = params.top_k,
                  .logprobs = request.logprobs,
                  .choice = sequence.choice,
                  .seed = params.seed};
  histories_.of(sequence).contribute(sequence, ahead_, order, orders);
  orders.draws.push_back(order);
}

void Sampling::accept(Flight& flight) {
  for (const PlannedSlice& slice : flight.plan.slices) {
    slice.sequence->advance(slice.known_rows);
    flight.verdict.outcomes.push_back({.sequence = slice.sequence});
  }
  for (int32_t draw = 0; draw < size_of(flight.orders.draws); ++draw) accept_draw(draw, flight);
  drafting_.learn(flight);
}

void Sampling::accept_draw(int32_t draw, Flight& flight) {
  const auto i = static_cast<size_t>(draw);
  const DrawTarget& target = flight.targets[i];
  Verdict& verdict = flight.verdict;
  const auto of_slice = static_cast<size_t>(target.slice);
  if (target.node >= 0) {
    Outcome& outcome = verdict.outcomes[of_slice];
    const auto draft = flight.plan.draft_of(flight.plan.slices[of_slice]);
    if (!agrees(draft[static_cast<size_t>(target.node)], outcome, verdict)) return;
    append(target.node, verdict.kept, outcome.kept);
  }
  if (verdict.outcomes[of_slice].error == RowError::kNone) {
    verdict.outcomes[of_slice].error = flight.output.drawn[i].error;
  }
  if (verdict.outcomes[of_slice].error != RowError::kNone) return;

  Sequence& sequence = *verdict.outcomes[of_slice].sequence;
  if (flight.orders.draws[i].kind == DrawKind::kScore) {
    ++sequence.prompt_scored;
  } else if (target.sequence == &sequence) {
    commit(draw, verdict.outcomes[of_slice], flight);
  } else {
    verdict.outcomes.push_back({.sequence = &fork(sequence, *target.sequence, flight)});
    commit(draw, verdict.outcomes.back(), flight);
  }
}

void Sampling::commit(int32_t draw, Outcome& outcome, Flight& flight) {
  Sequence& sequence = *outcome.sequence;
  const StopParams& stop = sequence.request->stop;
  const TokenId token = flight.output.drawn[static_cast<size_t>(draw)].token;
  append(draw, flight.verdict.draws, outcome.draws);
  if (sequence.generated() == 0) {
    sequence.tokens.reserve(sequence.tokens.size() + static_cast<size_t>(stop.tokens_max));
  }
  sequence.tokens.push_back(token);

  if (ends_sequence(stop, vocab_, token)) {
    outcome.finish = FinishReason::kStop;
    return;
  }
  outcome.stop_string = histories_.of(sequence).advance(token);
  if (outcome.stop_string >= 0) {
    outcome.finish = FinishReason::kStop;
  } else if (sequence.generated() >= stop.tokens_max) {
    outcome.finish = FinishReason::kLength;
  }
}

void Sampling::forget(const Sequence& sequence) {
  histories_.forget(sequence.id);
  drafting_.forget(sequence);
}

}  // namespace millrace
