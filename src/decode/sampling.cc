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
    const auto holds_row = [&](const SliceHead& head) {
      return row < head.row + head.known_rows + head.draft_rows;
    };
    while (!holds_row(batch.slices[static_cast<size_t>(slice)])) ++slice;
    choose_for(slice, want, batch.positions[static_cast<size_t>(row)], flight);
  }
}

void Sampling::choose_for(int32_t slice, int32_t want, int64_t position, Flight& flight) {
  Sequence& sequence = *flight.plan.slices[static_cast<size_t>(slice)].sequence;
  if (position < sequence.known() - 1) {
    score(want, position, sequence, flight.choices);
    flight.askers.push_back({&sequence, slice});
    return;
  }
  draw(want, sequence, flight.choices);
  flight.askers.push_back({&sequence, slice});
  for (Sequence& other : sequence.choices) {
    if (!other.awaits_fork()) continue;
    draw(want, other, flight.choices);
    flight.askers.push_back({&other, slice});
  }
}

void Sampling::score(int32_t want, int64_t position, const Sequence& sequence,
                     Choices& choices) const {
  const int32_t begin = count(choices.scored);
  choices.scored.push_back(sequence.tokens[static_cast<size_t>(position + 1)]);
  choices.rows.push_back({.row = want,
                          .want = RowWant::kScore,
                          .logprobs = sequence.request->prompt_logprobs,
                          .scored = {begin, begin + 1}});
}

void Sampling::draw(int32_t want, const Sequence& sequence, Choices& choices) {
  const Request& request = *sequence.request;
  const SamplingParams& params = request.sampling;
  RowChoice row{.row = want,
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
  row.bias.begin = count(choices.bias);
  for (const auto& [token, bias] : params.logit_bias) choices.bias.push_back({token, bias});
  const int64_t generated = sequence.awaits_fork() ? 0 : sequence.generated();
  forbid_ends(request.stop, tokenizer_.vocab(), generated, choices.bias);
  const std::span<const TokenId> known = sequence.tokens;
  forbid_banned(params.banned, known.last(static_cast<size_t>(generated)), choices.bias);
  row.bias.end = count(choices.bias);
  const Memory* memory = memory_of(sequence);
  row.mask.begin = count(choices.mask);
  if (memory)
    choices.mask.insert(choices.mask.end(), memory->common->mask.begin(),
                        memory->common->mask.end());
  row.mask.end = count(choices.mask);
  row.counts.begin = count(choices.counts);
  if (memory && memory->counts) {
    // One by one: the counts grow by one each step, and a range would get just the memory it needs.
    for (const TokenCount& of_token : memory->counts->all()) choices.counts.push_back(of_token);
  }
  row.counts.end = count(choices.counts);
  choices.rows.push_back(row);
}

void Sampling::accept(Flight& flight) {
  for (const PlannedSlice& slice : flight.plan.slices) {
    slice.sequence->advance(slice.rows);
    flight.verdict.outcomes.push_back({.sequence = slice.sequence});
  }
  for (int32_t row = 0; row < count(flight.choices.rows); ++row) accept_row(row, flight);
}

void Sampling::accept_row(int32_t row, Flight& flight) {
  const auto i = static_cast<size_t>(row);
  const Asker& asker = flight.askers[i];
  std::vector<Outcome>& outcomes = flight.verdict.outcomes;
  const auto of_slice = static_cast<size_t>(asker.slice);
  if (outcomes[of_slice].error == RowError::kNone) {
    outcomes[of_slice].error = flight.output.chosen[i].error;
  }
  if (outcomes[of_slice].error != RowError::kNone) return;

  Sequence& sequence = *outcomes[of_slice].sequence;
  if (flight.choices.rows[i].want == RowWant::kScore) {
    ++sequence.prompt_scored;
  } else if (asker.sequence == &sequence) {
    commit(row, outcomes[of_slice], flight);
  } else {
    outcomes.push_back({.sequence = &fork(sequence, *asker.sequence, flight)});
    commit(row, outcomes.back(), flight);
  }
}

void Sampling::commit(int32_t row, Outcome& outcome, Flight& flight) {
  Sequence& sequence = *outcome.sequence;
  const StopParams& stop = sequence.request->stop;
  const TokenId token = flight.output.chosen[static_cast<size_t>(row)].token;
  const int32_t begin = count(flight.verdict.rows);
  flight.verdict.rows.push_back(row);
  outcome.rows = {begin, begin + 1};
  if (sequence.generated() == 0) {
    sequence.tokens.reserve(sequence.tokens.size() + static_cast<size_t>(stop.tokens_max));
  }
  sequence.tokens.push_back(token);

  if (ends_answer(stop, tokenizer_.vocab(), token)) {
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
