#include "tests/fixtures/scripted_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/random.h"

namespace millrace {

std::vector<float> ScriptedModel::logits(uint64_t prefix) const {
  const auto low = static_cast<uint32_t>(prefix);
  const auto high = static_cast<uint32_t>(prefix >> 32);
  const auto key = static_cast<uint32_t>(seed);
  std::vector<float> values;
  for (int32_t token = 0; token < vocab; ++token) {
    const uint32_t bits = philox({low, high}, {static_cast<uint32_t>(token), key, 0, 0})[0];
    values.push_back(static_cast<float>(bits % 16) / 2 - 4);  // coarse, so that some are equal
  }
  const uint32_t fate = philox({low, high}, {0, key, 1, 0})[0];
  if (broken_every > 0 && fate % broken_every == 0) values[0] = std::nanf("");
  return values;
}

uint64_t stored_token(TokenId token, int64_t position) {
  return fold(static_cast<uint64_t>(token), static_cast<uint64_t>(position));
}

uint64_t fold(uint64_t prefix, uint64_t stored) {
  const auto bits = philox({static_cast<uint32_t>(prefix), static_cast<uint32_t>(prefix >> 32)},
                           {static_cast<uint32_t>(stored), static_cast<uint32_t>(stored >> 32)});
  return uint64_t{bits[0]} << 32 | bits[1];
}

namespace {

std::vector<double> log_softmax(std::span<const float> logits) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  std::vector<double> out;
  for (const float logit : logits) out.push_back(logit - std::log(sum));
  return out;
}

std::vector<TokenId> by_likelihood(std::span<const float> logits) {
  std::vector<TokenId> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::ranges::stable_sort(order, [&](TokenId a, TokenId b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  return order;
}

std::vector<float> adjusted(std::span<const float> logits, const Choices& choices,
                            const RowChoice& order) {
  std::vector<float> out(logits.begin(), logits.end());
  for (int32_t i = order.counts.begin; i < order.counts.end; ++i) {
    const TokenCount& count = choices.counts[static_cast<size_t>(i)];
    float& logit = out[static_cast<size_t>(count.token)];
    logit = logit > 0 ? logit / order.repetition : logit * order.repetition;
    logit -= order.frequency * static_cast<float>(count.in_output);
    if (count.in_output > 0) logit -= order.presence;
  }
  for (int32_t i = order.bias.begin; i < order.bias.end; ++i) {
    const TokenBias& bias = choices.bias[static_cast<size_t>(i)];
    out[static_cast<size_t>(bias.token)] += bias.bias;
  }
  for (int32_t token = 0; order.mask.size() > 0 && token < std::ssize(out); ++token) {
    const int32_t word = order.mask.begin + token / 32;
    const bool allowed = word < order.mask.end &&
                         (choices.mask[static_cast<size_t>(word)] & (1U << (token % 32))) != 0;
    if (!allowed) out[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  }
  return out;
}

TokenId draw_token(std::span<const float> logits, int32_t position, const RowChoice& order) {
  std::vector<TokenId> likely = by_likelihood(logits);
  if (order.temperature == 0) return likely[0];
  if (order.top_k > 0) likely.resize(std::min(likely.size(), static_cast<size_t>(order.top_k)));
  std::vector<double> weights;
  double sum = 0;
  for (const TokenId token : likely) {
    weights.push_back(std::exp(double{logits[static_cast<size_t>(token)]} / order.temperature));
    sum += weights.back();
  }
  double left = double{sampling_uniform(order.seed, order.choice, position)} * sum;
  for (size_t i = 0; i < likely.size(); ++i) {
    left -= weights[i];
    if (left < 0) return likely[i];
  }
  return likely[0];
}

}  // namespace

Drawn draw(std::span<const float> logits, int32_t position, const Choices& choices,
           const RowChoice& order) {
  Drawn drawn;
  for (const float logit : logits) {
    if (!std::isnan(logit)) continue;
    drawn.chosen.error = RowError::kNotANumber;
    drawn.scored.resize(static_cast<size_t>(order.scored.size()));
    return drawn;
  }
  const std::vector<double> logprobs = log_softmax(logits);
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(logprobs[static_cast<size_t>(token)]);
  };
  if (order.want == RowWant::kDraw) {
    const std::vector<float> changed = adjusted(logits, choices, order);
    if (std::ranges::max(changed) == -std::numeric_limits<float>::infinity()) {
      drawn.chosen.error = RowError::kNothingAllowed;
      return drawn;
    }
    drawn.chosen.token = draw_token(changed, position, order);
    if (order.logprobs >= 0) drawn.chosen.logprob = logprob(drawn.chosen.token);
  }
  for (int32_t i = order.scored.begin; i < order.scored.end; ++i) {
    drawn.scored.push_back(logprob(choices.scored[static_cast<size_t>(i)]));
  }
  for (const TokenId token : by_likelihood(logits)) {
    if (std::ssize(drawn.top) >= order.logprobs) break;
    drawn.top.push_back({token, logprob(token)});
  }
  return drawn;
}

ScriptedExecutor::ScriptedExecutor(ScriptedModel model, int32_t block_tokens, int64_t blocks,
                                   int32_t rows_max, int32_t sequences_max)
    : model_(model) {
  const KvGroup group{.block_tokens = block_tokens, .units = blocks};
  capacity_ = {.groups = {group, group}, .rows_max = rows_max, .sequences_max = sequences_max};
  store_.resize(2);
  for (auto& cells : store_) cells.resize(static_cast<size_t>(blocks * block_tokens), ~0ULL);
}

uint64_t& ScriptedExecutor::slot(int32_t group, int32_t slice, int32_t slot) {
  const int32_t block_tokens = capacity_.groups[0].block_tokens;
  const auto table = batch_->tables[static_cast<size_t>(group)].row(slice);
  CHECK(slot / block_tokens < std::ssize(table), "slot {} lies beyond the table", slot);
  const BlockId block = table[static_cast<size_t>(slot / block_tokens)];
  return store_[static_cast<size_t>(group)]
               [static_cast<size_t>(block.value * block_tokens + slot % block_tokens)];
}

void ScriptedExecutor::check_alone(int32_t slice, int32_t slot) const {
  const Csr<BlockId>& tables = batch_->tables[0];
  const BlockId block =
      tables.row(slice)[static_cast<size_t>(slot / capacity_.groups[0].block_tokens)];
  CHECK(std::ranges::count(tables.values, block) == 1, "block {} is shared and written", block);
}

// All at once, as the lanes of a real executor do: so no block may be read and written.
void ScriptedExecutor::make_copies() {
  const auto cell = [&](BlockId block) {
    return static_cast<std::ptrdiff_t>(block.value) * capacity_.groups[0].block_tokens;
  };
  for (const BlockCopy& copy : batch_->copies) {
    for (const BlockCopy& other : batch_->copies) {
      CHECK(copy.from != other.to, "block {} is read and written by copies", copy.from);
      CHECK(&copy == &other || copy.group != other.group || copy.to != other.to,
            "block {} is written by two copies", copy.to);
    }
    auto& cells = store_[static_cast<size_t>(copy.group)];
    std::copy_n(cells.begin() + cell(copy.from), copy.tokens, cells.begin() + cell(copy.to));
    ++copies_made_;
  }
}

absl::Status ScriptedExecutor::start(const Batch& batch) {
  CHECK(batch_ == nullptr && batch.rows() > 0 && batch.rows() <= capacity_.rows_max);
  CHECK(std::ssize(batch.slices) <= capacity_.sequences_max);
  CHECK(batch.tables.size() == capacity_.groups.size());
  CHECK(std::ranges::is_sorted(batch.wants));
  if (steps_++ >= steps_max_) return internal_error("the device fell off");
  batch_ = &batch;
  return absl::OkStatus();
}

uint64_t ScriptedExecutor::compute_row(int32_t slice, int32_t row) {
  const auto i = static_cast<size_t>(row);
  const int32_t end = batch_->slots[i];
  uint64_t prefix[2] = {kEmptyPrefix, kEmptyPrefix};
  for (int32_t group = 0; group < 2; ++group) {
    for (int32_t at = 0; at <= end; ++at) {
      prefix[group] = fold(prefix[group], slot(group, slice, at));
    }
  }
  CHECK(prefix[0] == prefix[1], "the groups disagree");
  ++rows_computed_;
  return prefix[0];
}

absl::Status ScriptedExecutor::finish(const Choices& choices, StepOutput& output) {
  make_copies();
  for (int32_t slice = 0; slice < std::ssize(batch_->slices); ++slice) {
    const SliceHead& head = batch_->slices[static_cast<size_t>(slice)];
    for (int32_t row = head.row; row < head.row + head.known_rows; ++row) {
      const auto i = static_cast<size_t>(row);
      if (batch_->positions[i] < head.write_from) continue;
      check_alone(slice, batch_->slots[i]);
      for (int32_t group = 0; group < 2; ++group) {
        slot(group, slice, batch_->slots[i]) =
            stored_token(batch_->tokens[i], batch_->positions[i]);
      }
    }
  }
  std::vector<uint64_t> prefixes;  // [rows]
  for (int32_t slice = 0; slice < std::ssize(batch_->slices); ++slice) {
    const SliceHead& head = batch_->slices[static_cast<size_t>(slice)];
    for (int32_t row = head.row; row < head.row + head.known_rows; ++row) {
      prefixes.push_back(compute_row(slice, row));
    }
  }
  output.clear();
  for (const RowChoice& order : choices.rows) {
    const auto row = static_cast<size_t>(batch_->wants[static_cast<size_t>(order.row)]);
    const Drawn drawn = draw(model_.logits(prefixes[row]), batch_->positions[row], choices, order);
    output.chosen.push_back(drawn.chosen);
    output.scored.insert(output.scored.end(), drawn.scored.begin(), drawn.scored.end());
    output.top.values.insert(output.top.values.end(), drawn.top.begin(), drawn.top.end());
    output.top.close_row();
  }
  batch_ = nullptr;
  return absl::OkStatus();
}

std::unique_ptr<const Tokenizer> letters(int32_t vocab) {
  std::vector<std::string> tokens = {"</s>"};
  std::vector<int64_t> kinds = {3};  // control
  for (int32_t i = 1; i < vocab; ++i) {
    tokens.emplace_back(1, static_cast<char>('a' + i - 1));
    kinds.push_back(1);  // normal
  }
  Metadata metadata;
  metadata.set_string("tokenizer.ggml.model", "gpt2");
  metadata.set_string("tokenizer.ggml.pre", "gpt-2");
  metadata.set_strings("tokenizer.ggml.tokens", tokens);
  metadata.set_integers("tokenizer.ggml.token_type", MetaType::kI32, kinds);
  metadata.set_strings("tokenizer.ggml.merges", {});
  metadata.set_integer("tokenizer.ggml.eos_token_id", MetaType::kU32, 0);
  auto tokenizer = Tokenizer::create(metadata);
  CHECK(tokenizer.ok(), "{}", message_of(tokenizer.status()));
  return *std::move(tokenizer);
}

namespace {

// Of the stops that `text` holds, the one that ends first, at equal ends the longest; -1: none.
int32_t first_stop(const std::string& text, const std::vector<std::string>& stops) {
  int32_t best = -1;
  size_t best_end = std::string::npos;
  for (size_t i = 0; i < stops.size(); ++i) {
    const size_t at = text.find(stops[i]);
    if (at == std::string::npos) continue;
    const size_t end = at + stops[i].size();
    const bool longer =
        best >= 0 && end == best_end && stops[i].size() > stops[static_cast<size_t>(best)].size();
    if (end < best_end || longer) best = static_cast<int32_t>(i);
    best_end = std::min(best_end, end);
  }
  return best;
}

// One choice of the naive answer.
struct NaiveChoice {
  const ScriptedModel& model;
  const Tokenizer& tokenizer;
  const Request& request;
  int32_t choice;
  std::vector<TokenId> tokens = {};
  uint64_t prefix = kEmptyPrefix;
  std::string text = {};

  int64_t generated() const { return std::ssize(tokens) - std::ssize(request.prompt); }

  void add(TokenId token) {
    prefix = fold(prefix, stored_token(token, std::ssize(tokens)));
    tokens.push_back(token);
  }

  bool ends(TokenId token) const {
    return (token == 0 && !request.stop.ignore_eos) ||
           std::ranges::count(request.stop.tokens, token) > 0;
  }

  // Not allowed, or the end of a banned run.
  bool barred(TokenId token) const {
    const SamplingParams& params = request.sampling;
    if (!params.allowed.empty() && std::ranges::count(params.allowed, token) == 0) return true;
    std::vector<TokenId> longer(tokens.begin() + std::ssize(request.prompt), tokens.end());
    longer.push_back(token);
    return std::ranges::any_of(params.banned, [&](const std::vector<TokenId>& run) {
      return run.size() <= longer.size() && std::equal(run.rbegin(), run.rend(), longer.rbegin());
    });
  }

  RowChoice order(Choices& choices) const {
    const SamplingParams& params = request.sampling;
    RowChoice row;
    row.temperature = params.temperature;
    row.top_k = params.top_k;
    row.repetition = params.repetition;
    row.presence = params.presence;
    row.frequency = params.frequency;
    row.logprobs = request.logprobs;
    row.choice = choice;
    row.seed = params.seed;
    for (const auto& [token, bias] : params.logit_bias) choices.bias.push_back({token, bias});
    for (TokenId token = 0; token < model.vocab; ++token) {
      if (barred(token) || (generated() < request.stop.tokens_min && ends(token))) {
        choices.bias.push_back({token, -std::numeric_limits<float>::infinity()});
      }
      const auto in_prompt = std::ranges::count(request.prompt, token);
      const auto ever = std::ranges::count(tokens, token);
      if (ever == 0) continue;
      choices.counts.push_back(
          {token, static_cast<int32_t>(in_prompt), static_cast<int32_t>(ever - in_prompt)});
    }
    row.bias = {0, static_cast<int32_t>(choices.bias.size())};
    row.counts = {0, static_cast<int32_t>(choices.counts.size())};
    return row;
  }

  TokenEvent judge(const Drawn& drawn) {
    TokenEvent event{.choice = choice,
                     .position = static_cast<int32_t>(tokens.size()),
                     .token = drawn.chosen.token,
                     .logprob = drawn.chosen.logprob,
                     .top = drawn.top};
    add(event.token);
    if (ends(event.token)) {
      event.finish = FinishReason::kStop;
      return event;
    }
    if (generated() > request.stop.tokens_min && !tokenizer.is_special(event.token)) {
      text += tokenizer.piece(event.token);
    }
    event.stop_string = first_stop(text, request.stop.strings);
    if (event.stop_string >= 0) {
      event.finish = FinishReason::kStop;
    } else if (generated() == request.stop.tokens_max) {
      event.finish = FinishReason::kLength;
    }
    return event;
  }
};

}  // namespace

NaiveAnswer answer_naively(const ScriptedModel& model, const Tokenizer& tokenizer,
                           const Request& request) {
  NaiveAnswer answer;
  for (int32_t choice = 0; choice < request.choices; ++choice) {
    NaiveChoice one{model, tokenizer, request, choice};
    for (const TokenId token : request.prompt) {
      if (choice == 0 && !one.tokens.empty() && request.prompt_logprobs >= 0) {
        Choices choices;
        choices.scored = {token};
        const RowChoice order{
            .want = RowWant::kScore, .logprobs = request.prompt_logprobs, .scored = {0, 1}};
        const Drawn drawn = draw(model.logits(one.prefix), 0, choices, order);
        if (drawn.chosen.error != RowError::kNone) return {answer.events, drawn.chosen.error};
        answer.events.push_back({.position = static_cast<int32_t>(one.tokens.size()),
                                 .token = token,
                                 .of_prompt = true,
                                 .logprob = drawn.scored[0],
                                 .top = drawn.top});
      }
      one.add(token);
    }
    for (FinishReason finish = FinishReason::kNone; finish == FinishReason::kNone;) {
      Choices choices;
      const RowChoice order = one.order(choices);
      const auto position = static_cast<int32_t>(one.tokens.size()) - 1;
      const Drawn drawn = draw(model.logits(one.prefix), position, choices, order);
      if (drawn.chosen.error != RowError::kNone) return {answer.events, drawn.chosen.error};
      answer.events.push_back(one.judge(drawn));
      finish = answer.events.back().finish;
    }
  }
  return answer;
}

bool Notebook::tokens(std::span<const TokenEvent> given) {
  EXPECT_TRUE(ends.empty()) << "tokens after the end";
  EXPECT_FALSE(given.empty());
  events.insert(events.end(), given.begin(), given.end());
  return events.size() < events_max;
}

void Notebook::finish(const FinishEvent& event) { ends.push_back(event); }

}  // namespace millrace
