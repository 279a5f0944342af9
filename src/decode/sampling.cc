#include "decode/sampling.h"

#include "decode/bans.h"
#include "decode/stop.h"

namespace millrace {
namespace {

template <typename T>
int32_t count(const std::vector<T>& values) {
  return static_cast<int32_t>(values.size());
}

Sequence& fork(Sequence& parent, Sequence& child, Flight& flight) {
  child.tokens = parent.request->prompt;
  child.computed = parent.computed;
  flight.verdict.forks.push_back({parent.id, child.id});
  return child;
}

}  // namespace

void Sampling::choose(Flight& flight) {
  const Batch& batch = flight.batch;
  int32_t slice = 0;
  for (int32_t want = 0; want < count(batch.wants); ++want) {
    const int32_t row = batch.wants[static_cast<size_t>(want)];
    const auto holds_row = [&](const SliceHead& head) { return row < head.row + head.rows; };
    while (!holds_row(batch.slices[static_cast<size_t>(slice)])) ++slice;
    choose_for(slice, want, batch.positions[static_cast<size_t>(row)], flight);
  }
}

void Sampling::choose_for(int32_t slice, int32_t want, int64_t position, Flight& flight) {
  Sequence& sequence = *flight.plan.slices[static_cast<size_t>(slice)].sequence;
  if (position < sequence.known() - 1) {
    score(want, position, sequence, flight.orders);
    flight.targets.push_back({&sequence, slice});
    return;
  }
  draw(want, sequence, flight.orders);
  flight.targets.push_back({&sequence, slice});
  for (Sequence& other : sequence.choices) {
    if (!other.awaits_fork()) continue;
    draw(want, other, flight.orders);
    flight.targets.push_back({&other, slice});
  }
}

void Sampling::score(int32_t want, int64_t position, const Sequence& sequence,
                     DrawOrders& orders) const {
  const int32_t begin = count(orders.scored);
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
  order.bias.begin = count(orders.bias);
  for (const auto& [token, bias] : params.logit_bias) orders.bias.push_back({token, bias});
  const int64_t generated = sequence.awaits_fork() ? 0 : sequence.generated();
  forbid_ends(request.stop, tokenizer_.vocab(), generated, orders.bias);
  const std::span<const TokenId> known = sequence.tokens;
  forbid_banned(params.banned, known.last(static_cast<size_t>(generated)), orders.bias);
  order.bias.end = count(orders.bias);
  const Memory* memory = memory_of(sequence);
  order.mask.begin = count(orders.mask);
  if (memory)
    orders.mask.insert(orders.mask.end(), memory->common->mask.begin(), memory->common->mask.end());
  order.mask.end = count(orders.mask);
  order.counts.begin = count(orders.counts);
  if (memory && memory->counts) {
    // One by one: the counts grow by one each step, and a range would get just the memory it needs.
    for (const TokenCount& of_token : memory->counts->all()) orders.counts.push_back(of_token);
  }
  order.counts.end = count(orders.counts);
  orders.draws.push_back(order);
}

void Sampling::accept(Flight& flight) {
  for (const PlannedSlice& slice : flight.plan.slices) {
    slice.sequence->advance(slice.known_rows);
    flight.verdict.outcomes.push_back({.sequence = slice.sequence});
  }
  for (int32_t draw = 0; draw < count(flight.orders.draws); ++draw) accept_draw(draw, flight);
}

void Sampling::accept_draw(int32_t draw, Flight& flight) {
  const auto i = static_cast<size_t>(draw);
  const DrawTarget& target = flight.targets[i];
  std::vector<Outcome>& outcomes = flight.verdict.outcomes;
  const auto of_slice = static_cast<size_t>(target.slice);
  if (outcomes[of_slice].error == RowError::kNone) {
    outcomes[of_slice].error = flight.output.drawn[i].error;
  }
  if (outcomes[of_slice].error != RowError::kNone) return;

  Sequence& sequence = *outcomes[of_slice].sequence;
  if (flight.orders.draws[i].kind == DrawKind::kScore) {
    ++sequence.prompt_scored;
  } else if (target.sequence == &sequence) {
    commit(draw, outcomes[of_slice], flight);
  } else {
    outcomes.push_back({.sequence = &fork(sequence, *target.sequence, flight)});
    commit(draw, outcomes.back(), flight);
  }
}

void Sampling::commit(int32_t draw, Outcome& outcome, Flight& flight) {
  Sequence& sequence = *outcome.sequence;
  const StopParams& stop = sequence.request->stop;
  const TokenId token = flight.output.drawn[static_cast<size_t>(draw)].token;
  const int32_t begin = count(flight.verdict.draws);
  flight.verdict.draws.push_back(draw);
  outcome.draws = {begin, begin + 1};
  if (sequence.generated() == 0) {
    sequence.tokens.reserve(sequence.tokens.size() + static_cast<size_t>(stop.tokens_max));
  }
  sequence.tokens.push_back(token);

  if (ends_sequence(stop, tokenizer_.vocab(), token)) {
    outcome.finish = FinishReason::kStop;
    return;
  }
  if (Memory* memory = memory_of(sequence)) {
    if (memory->counts) memory->counts->add(token);
    if (memory->text) {
      memory->text->push(token);
      outcome.stop_string = memory->text->stopped();
    }
  }
  if (outcome.stop_string >= 0) {
    outcome.finish = FinishReason::kStop;
  } else if (sequence.generated() >= stop.tokens_max) {
    outcome.finish = FinishReason::kLength;
  }
}

Sampling::Memory* Sampling::memory_of(const Sequence& sequence) {
  const Request& request = *sequence.request;
  const bool counts = TokenCounts::needed(request.sampling);
  if (!counts && request.stop.strings.empty() && request.sampling.allowed.empty()) return nullptr;
  std::unique_ptr<Memory>& memory = memories_[sequence.id];
  if (memory) return memory.get();
  memory = std::make_unique<Memory>();
  memory->common = common_of(sequence);
  if (memory->common->text_begin) memory->text.emplace(*memory->common->text_begin);
  if (counts) memory->counts.emplace(request.sampling, request.prompt);
  return memory.get();
}

std::shared_ptr<const Sampling::Common> Sampling::common_of(const Sequence& sequence) const {
  for (const Sequence& other : sequence.choices) {
    const auto found = memories_.find(other.id);
    const bool has_it = found != memories_.end() && found->second->common != nullptr;
    if (has_it) return found->second->common;
  }
  const Request& request = *sequence.request;
  auto common = std::make_shared<Common>();
  common->mask = mask_of(request.sampling.allowed);
  if (!request.stop.strings.empty()) {
    common->text_begin.emplace(tokenizer_,
                               TextStream::Options{.stops = request.stop.strings,
                                                   .skip_special = request.stop.skip_special,
                                                   .unheard = request.stop.tokens_min});
  }
  return common;
}

}  // namespace millrace
