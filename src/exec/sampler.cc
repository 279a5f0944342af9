#include "exec/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/random.h"
#include "exec/float4.h"
#include "exec/softmax.h"

namespace millrace {
namespace {

// Beyond this many nats from the likeliest a weight is zero.
constexpr float kNatsMax = 88;

// Rounding of a minimal weight's logarithm and of the weights near it is less than this.
constexpr double kNatsMargin = 0.01;

// Locally typical sampling (Meister et al. 2022, section 4): how far a token's information is from
// the expected one, smaller is better. scores: log-weights with maximum 0, which become this.
void typical_scores(std::span<const float> weights, std::span<float> scores) {
  using Double4 = double __attribute__((vector_size(32)));
  const double total = sum_of(weights);
  const double expected = std::log(total) - entropy_of(scores, weights, total);
  for (size_t i = 0; i < scores.size(); i += kFour) {
    const auto off = expected - __builtin_convertvector(load4(scores.data() + i), Double4);
    store4(scores.data() + i, __builtin_convertvector(off < 0 ? off : -off, Float4));
  }
}

// Keeps what is at least `min_p` as likely as the likeliest.
void keep_likely(float min_p, std::span<float> weights) {
  const float least = min_p * max_of(weights);
  for (float& weight : weights) weight = weight < least ? 0 : weight;
}

bool cuts_by_count(const DrawOrder& order, int64_t vocab) {
  return order.top_k > 0 && order.top_k < vocab;
}

// Whether a draw takes a part of the weight of all tokens.
bool needs_weights(const DrawOrder& order, int64_t vocab) {
  if (order.temperature == 0 || cuts_by_count(order, vocab) || order.typical < 1) return false;
  return order.top_p < 1 || order.min_p <= 0;
}

// Whether the weights of a draw are those of the model's own distribution.
bool is_model_own(const DrawOrder& order) {
  return order.temperature == 1 && order.counts.size() + order.bias.size() + order.mask.size() == 0;
}

}  // namespace

Sampler::Workspace::Workspace(int64_t vocab)
    : row(vocab),
      tokens(row.padded()),
      logits(row.padded()),
      weights(row.padded()),
      scores(row.padded()),
      ranking(static_cast<int64_t>(row.padded())) {}

int64_t Sampler::Workspace::bytes() const {
  const auto list = static_cast<int64_t>(tokens.size());
  return list * static_cast<int64_t>(sizeof(TokenId) + 3 * sizeof(float)) + row.bytes() +
         ranking.bytes();
}

// Makes candidates of all tokens whose logits are at least `least`.
void Sampler::Workspace::take_from(float least, float temperature) {
  count = row.gather(least, tokens, logits);
  weigh(std::span(logits).first(count), Weighing(row.max(), temperature), weights);
}

// Makes candidates of the `taken` likeliest.
void Sampler::Workspace::take_likeliest(int64_t taken, float temperature) {
  count = row.gather(row.least_of(taken), tokens, logits);
  const auto ranked_by = std::span(logits).first(count);
  keep_until(ranking.cut_at_count(ranked_by, taken), ranked_by);
  weigh(std::span(logits).first(count), Weighing(row.max(), temperature), weights);
}

// Makes candidates of the likeliest tokens that together weigh `mass`, and of some more: goes down
// from the likeliest until they do.
void Sampler::Workspace::take_mass(double mass, float temperature) {
  // Of rows that are likely in a few tokens most lies within 4 nats, of others about as far down as
  // the logarithm of how many times the likeliest the whole weighs. Small steps from there, as
  // there are ever more tokens; soon large ones, as there is ever less weight.
  constexpr float kStep = 3;
  constexpr float kNear = 16;
  auto nats = std::max(4.0F, static_cast<float>(std::log(row.weight())));
  while (true) {
    take_from(row.max() - temperature * nats, temperature);
    if (nats > kNatsMax || sum_of(std::span(weights).first(count)) >= mass) return;
    nats = nats < kNear ? nats + kStep : 2 * nats;
  }
}

// Takes all candidates that rank below `last` out of the running: fours of them leave the lists,
// others lose their weight.
void Sampler::Workspace::keep_until(uint64_t last, std::span<const float> ranked_by) {
  const float least = Ranking::score_of(last);
  const auto last_index = static_cast<int32_t>(Ranking::index_of(last));
  size_t kept = 0;
  for (size_t i = 0; i < count; i += kFour) {
    const Float4 ranks = load4(ranked_by.data() + i);
    const Int4 indices = Int4{0, 1, 2, 3} + static_cast<int32_t>(i);
    const Int4 keeps = (ranks > least) | ((ranks == least) & (indices <= last_index));
    std::memmove(tokens.data() + kept, tokens.data() + i, kFour * sizeof(TokenId));
    store4(logits.data() + kept, select4(keeps, load4(logits.data() + i), all4(kNever)));
    store4(weights.data() + kept, keep4(keeps, load4(weights.data() + i)));
    kept += any4(keeps) ? kFour : 0;
  }
  count = kept;
}

// Leaves the candidates to draw from, in the order that core/params.h gives. Each way to narrow the
// choice of all tokens looks at no more of them than it needs.
void Sampler::Workspace::narrow(const DrawOrder& order) {
  const auto first = [&](std::vector<float>& values) { return std::span(values).first(count); };
  const float temperature = order.temperature;
  const bool counted = cuts_by_count(order, row.vocab());
  if (counted) {
    take_likeliest(order.top_k, temperature);
  } else if (order.typical < 1) {
    take_from(kNever, temperature);
  } else if (order.top_p < 1) {
    take_mass(order.top_p * row.weight(), temperature);
  } else {
    const double least = row.max() + temperature * (std::log(double{order.min_p}) - kNatsMargin);
    take_from(static_cast<float>(least), temperature);
  }
  if (order.typical < 1) {
    scale_logits(first(logits), row.max(), temperature, scores);
    typical_scores(first(weights), first(scores));
    const double mass = order.typical * sum_of(first(weights));
    keep_until(ranking.cut_at_mass(first(scores), weights, mass), first(scores));
  }
  if (order.top_p < 1) {
    const bool of_all = !counted && order.typical >= 1;
    const double whole = of_all ? row.weight() : sum_of(first(weights));
    keep_until(ranking.cut_at_mass(first(logits), weights, order.top_p * whole), first(logits));
  }
  if (order.min_p > 0) keep_likely(order.min_p, first(weights));
}

// From a row that has been adjusted and, where needs_weights() says so, weighed.
TokenId Sampler::Workspace::choose(int32_t position, const DrawOrder& order) {
  if (order.temperature == 0) return row.argmax();
  const double uniform = sampling_uniform(order.seed, order.choice, position);
  if (needs_weights(order, row.vocab()) && order.top_p >= 1) {
    return row.token_at(uniform, order.temperature);
  }
  narrow(order);
  return tokens[static_cast<size_t>(index_at(std::span(weights).first(count), uniform))];
}

// What was asked to be told of the model's own distribution, for a row that no order has changed.
// The drawn token's log-probability comes with its draw. The row was weighed at temperature 1.
Sampler::Logprobs Sampler::Workspace::report(std::span<const float> raw, const DrawOrders& orders,
                                             size_t index, StepOutput& output) {
  const DrawOrder& order = orders.draws[index];
  const Logprobs logprobs = {raw, row.max() + std::log(row.weight())};
  for (int32_t i = order.scored.begin; i < order.scored.end; ++i) {
    const auto at = static_cast<size_t>(i);
    output.scored[at] = logprobs.of(orders.scored[at]);
  }
  const auto begin = static_cast<size_t>(output.top.offsets[index]);
  const size_t wanted = static_cast<size_t>(output.top.offsets[index + 1]) - begin;
  if (wanted == 0) return logprobs;
  count = row.gather(row.least_of(static_cast<int64_t>(wanted)), tokens, logits);
  const auto best = ranking.best(std::span(logits).first(count), static_cast<int64_t>(wanted));
  for (size_t i = 0; i < wanted; ++i) {
    const TokenId token = tokens[Ranking::index_of(best[i])];
    output.top.values[begin + i] = {.token = token, .logprob = logprobs.of(token)};
  }
  return logprobs;
}

void Sampler::Workspace::draw(std::span<const float> raw, int32_t position,
                              const DrawOrders& orders, size_t index, StepOutput& output) {
  const DrawOrder& order = orders.draws[index];
  Drawn& drawn = output.drawn[index];
  const bool reports = order.logprobs >= 0 || order.scored.size() > 0;
  row.look(raw);
  drawn.error = row.error();
  if (drawn.error != RowError::kNone) return;
  Logprobs logprobs;
  if (reports) {
    row.weigh(1);
    logprobs = report(raw, orders, index, output);
  }
  if (order.kind == DrawKind::kScore) return;
  row.adjust(orders, order);
  drawn.error = row.error();
  if (drawn.error != RowError::kNone) return;
  const bool weighed = reports && is_model_own(order);
  if (needs_weights(order, row.vocab()) && !weighed) row.weigh(order.temperature);
  drawn.token = choose(position, order);
  if (order.logprobs >= 0) drawn.logprob = logprobs.of(drawn.token);
}

Sampler::Sampler(int64_t vocab, int lanes) : vocab_(vocab) {
  workspaces_.reserve(static_cast<size_t>(lanes));
  for (int i = 0; i < lanes; ++i) workspaces_.emplace_back(vocab);
}

void Sampler::prepare(const DrawOrders& orders, StepOutput& output) const {
  CHECK(std::ranges::is_sorted(orders.draws, {}, &DrawOrder::want), "wants that do not ascend");
  output.clear();
  output.drawn.resize(orders.draws.size());
  output.scored.resize(orders.scored.size());
  for (const DrawOrder& order : orders.draws) {
    const auto count = static_cast<size_t>(std::clamp<int64_t>(order.logprobs, 0, vocab_));
    output.top.values.resize(output.top.values.size() + count);
    output.top.close_row();
  }
}

void Sampler::sample(Lane& lane, const WantedLogits& logits, std::span<const int32_t> positions,
                     const DrawOrders& orders, StepOutput& output) {
  const auto first_of = [&](int64_t want) {
    return std::ranges::lower_bound(orders.draws, want, {}, &DrawOrder::want) -
           orders.draws.begin();
  };
  const int64_t first = first_of(logits.first);
  const int64_t count = first_of(logits.first + logits.rows.rows) - first;
  lane.for_each_share(count, 1, [&](int owner, WorkRange mine) {
    for (int64_t i = first + mine.begin; i < first + mine.end; ++i) {
      const auto index = static_cast<size_t>(i);
      const int32_t want = orders.draws[index].want;
      const std::span row(logits.rows.row(want - logits.first), static_cast<size_t>(vocab_));
      workspaces_[static_cast<size_t>(owner)].draw(row, positions[static_cast<size_t>(want)],
                                                   orders, index, output);
    }
  });
}

int64_t Sampler::bytes() const {
  int64_t bytes = 0;
  for (const Workspace& space : workspaces_) bytes += space.bytes();
  return bytes;
}

}  // namespace millrace
