#include "exec/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/random.h"
#include "exec/softmax.h"

namespace millrace {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// A penalised logit goes no further: what follows it stays a number.
constexpr float kFarthest = 1e30F;

template <typename T>
std::span<const T> slice(const std::vector<T>& values, Range range) {
  return std::span(values).subspan(static_cast<size_t>(range.begin),
                                   static_cast<size_t>(range.size()));
}

// Penalties as Keskar et al. 2019 (CTRL, section 4.1) have the repetition's and OpenAI's API has
// the other two; then bias; then mask.
void adjust(const DrawOrders& orders, const DrawOrder& order, std::span<float> logits) {
  for (const TokenCount& count : slice(orders.counts, order.counts)) {
    float& logit = logits[static_cast<size_t>(count.token)];
    logit = logit > 0 ? logit / order.repetition : logit * order.repetition;
    logit = std::clamp(logit, -kFarthest, kFarthest);
    if (count.in_output == 0) continue;
    logit -= order.presence + order.frequency * static_cast<float>(count.in_output);
  }
  for (const TokenBias& bias : slice(orders.bias, order.bias)) {
    logits[static_cast<size_t>(bias.token)] += bias.bias;
  }
  if (order.mask.size() == 0) return;
  const std::span<const uint32_t> mask = slice(orders.mask, order.mask);
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool allowed = i / 32 < mask.size() && (mask[i / 32] >> (i % 32) & 1) != 0;
    if (!allowed) logits[i] = kNever;
  }
}

// Locally typical sampling (Meister et al. 2022, section 4): how far a token's information is from
// the expected one, smaller is better. scaled: log-weights with maximum 0.
void typical_scores(std::span<const float> scaled, std::span<float> scores) {
  const SoftmaxSums sums = softmax_sums(scaled, 0);
  const double log_weight = sums.log_weight();
  const double entropy = sums.entropy();
  for (size_t i = 0; i < scaled.size(); ++i) {
    scores[i] = static_cast<float>(-std::abs(log_weight - scaled[i] - entropy));
  }
}

// Keeps what is at least `min_p` as likely as the likeliest.
void keep_likely(float min_p, std::span<float> weights) {
  const float least = min_p * max_of(weights);
  for (float& weight : weights) weight = weight < least ? 0 : weight;
}

RowError error_of(const LogitScan& scan) {
  if (!scan.numbers) return RowError::kNotANumber;
  return scan.max == kNever ? RowError::kNothingAllowed : RowError::kNone;
}

}  // namespace

Sampler::Workspace::Workspace(int64_t vocab)
    : tokens(static_cast<size_t>(vocab)),
      logits(static_cast<size_t>(vocab)),
      weights(static_cast<size_t>(vocab)),
      scores(static_cast<size_t>(vocab)),
      ranking(vocab) {}

int64_t Sampler::Workspace::bytes() const {
  const auto list = static_cast<int64_t>(tokens.size());
  return list * static_cast<int64_t>(sizeof(TokenId) + 3 * sizeof(float)) + ranking.bytes();
}

// Takes all candidates that rank below `last` out of the running.
void Sampler::Workspace::keep_until(uint64_t last, std::span<const float> ranked_by) {
  size_t kept = 0;
  Ranking::visit_until(last, ranked_by, [&](size_t i) {
    tokens[kept] = tokens[i];
    logits[kept] = logits[i];
    weights[kept] = weights[i];
    ++kept;
  });
  count = kept;
}

// From `logits` of all tokens, in the order that core/params.h gives.
void Sampler::Workspace::narrow(const DrawOrder& order) {
  const auto first = [&](std::vector<float>& values) { return std::span(values).first(count); };
  count = tokens.size();
  std::iota(tokens.begin(), tokens.end(), 0);
  if (order.top_k > 0 && order.top_k < static_cast<int64_t>(count)) {
    keep_until(ranking.cut_at_count(logits, order.top_k), logits);
  }
  exponentials(first(logits), weights);
  if (order.typical < 1) {
    typical_scores(first(logits), scores);
    const double mass = order.typical * sum_of(first(weights));
    keep_until(ranking.cut_at_mass(first(scores), weights, mass), first(scores));
  }
  if (order.top_p < 1) {
    const double mass = order.top_p * sum_of(first(weights));
    keep_until(ranking.cut_at_mass(first(logits), weights, mass), first(logits));
  }
  if (order.min_p > 0) keep_likely(order.min_p, first(weights));
}

// Chooses from `logits`, whose scan is given, or from what the orders make of them.
void Sampler::Workspace::draw(std::span<const float> raw, LogitScan scan, int32_t position,
                              const DrawOrders& orders, const DrawOrder& order, Drawn& drawn) {
  std::span<const float> adjusted = raw;
  if (order.counts.size() + order.bias.size() + order.mask.size() > 0) {
    std::copy(raw.begin(), raw.end(), logits.begin());
    adjust(orders, order, logits);
    adjusted = logits;
    scan = scan_logits(adjusted);
  }
  drawn.error = error_of(scan);
  if (drawn.error != RowError::kNone) return;
  if (order.temperature == 0) {
    drawn.token = scan.argmax;
    return;
  }
  scale_logits(adjusted, scan.max, order.temperature, logits);
  narrow(order);
  const double uniform = sampling_uniform(order.seed, order.choice, position);
  const int32_t index = index_at(std::span<const float>(weights).first(count), uniform);
  drawn.token = tokens[static_cast<size_t>(index)];
}

// What was asked to be told of the model's own distribution.
void Sampler::Workspace::report(std::span<const float> raw, float max, const DrawOrders& orders,
                                size_t index, StepOutput& output) {
  const DrawOrder& order = orders.draws[index];
  if (order.logprobs < 0 && order.scored.size() == 0) return;
  const SoftmaxSums sums = softmax_sums(raw, max);
  const double log_weight = sums.log_weight();
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(double{raw[static_cast<size_t>(token)]} - max - log_weight);
  };
  for (int32_t i = order.scored.begin; i < order.scored.end; ++i) {
    const auto at = static_cast<size_t>(i);
    output.scored[at] = logprob(orders.scored[at]);
  }
  if (order.logprobs < 0) return;
  Drawn& drawn = output.drawn[index];
  if (order.kind == DrawKind::kDraw && drawn.error == RowError::kNone) {
    drawn.logprob = logprob(drawn.token);
  }
  const auto begin = static_cast<size_t>(output.top.offsets[index]);
  const size_t wanted = static_cast<size_t>(output.top.offsets[index + 1]) - begin;
  if (wanted == 0) return;
  const std::span<const uint64_t> best = ranking.best(raw, static_cast<int64_t>(wanted));
  for (size_t i = 0; i < wanted; ++i) {
    const auto token = static_cast<TokenId>(Ranking::index_of(best[i]));
    output.top.values[begin + i] = {.token = token, .logprob = logprob(token)};
  }
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
  const int64_t draws = first_of(logits.first + logits.rows.rows) - first;
  lane.for_each_share(draws, 1, [&](int owner, WorkRange mine) {
    Workspace& space = workspaces_[static_cast<size_t>(owner)];
    for (int64_t i = first + mine.begin; i < first + mine.end; ++i) {
      const DrawOrder& order = orders.draws[static_cast<size_t>(i)];
      Drawn& drawn = output.drawn[static_cast<size_t>(i)];
      const std::span<const float> row(logits.rows.row(order.want - logits.first),
                                       static_cast<size_t>(vocab_));
      const LogitScan scan = scan_logits(row);
      drawn.error = error_of(scan);
      if (drawn.error != RowError::kNone) continue;
      if (order.kind == DrawKind::kDraw) {
        const int32_t position = positions[static_cast<size_t>(order.want)];
        space.draw(row, scan, position, orders, order, drawn);
      }
      space.report(row, scan.max, orders, static_cast<size_t>(i), output);
    }
  });
}

int64_t Sampler::bytes() const {
  int64_t bytes = 0;
  for (const Workspace& space : workspaces_) bytes += space.bytes();
  return bytes;
}

}  // namespace millrace
