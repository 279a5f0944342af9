#include "exec/perplexity.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "exec/fixed_sequences.h"

namespace millrace {
namespace {

// Sums over the negative log-likelihoods of the scored tokens.
struct Tally {
  double sum = 0;
  double squares = 0;
  int64_t tokens = 0;

  void add(double nll) {
    sum += nll;
    squares += nll * nll;
    ++tokens;
  }
  double perplexity() const { return std::exp(sum / static_cast<double>(tokens)); }
  // Of the perplexity, by the error of the mean and the derivative of exp.
  double standard_error() const {
    const auto count = static_cast<double>(tokens);
    const double mean = sum / count;
    const double variance = squares / count - mean * mean;
    return variance > 0 ? std::sqrt(variance / (count - 1)) * perplexity() : 0;
  }
};

class Scorer {
 public:
  Scorer(Executor& executor, int32_t context)
      : executor_(executor), sequences_(executor.capacity(), context) {}

  // Adds the tokens behind position `scored_from`.
  absl::Status score(std::span<const TokenId> tokens, int32_t scored_from, Tally& tally) {
    const auto size = static_cast<int32_t>(tokens.size());
    for (int32_t at = 0; at < size;) {
      const bool scored = at >= scored_from;
      const int32_t left = (scored ? size : scored_from) - at;
      const int32_t rows = std::min(executor_.capacity().rows_max, left);
      sequences_.clear();
      sequences_.add(0, at, tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
                     scored ? SliceWants::kAll : SliceWants::kNone);
      order_scores(tokens.subspan(static_cast<size_t>(at) + 1));
      RETURN_IF_ERROR(executor_.start(sequences_.batch()));
      RETURN_IF_ERROR(executor_.finish(orders_, output_));
      RETURN_IF_ERROR(add_scores(at, tally));
      at += rows;
    }
    return absl::OkStatus();
  }

 private:
  // Want i predicts targets[i]; the last token of a chunk predicts nothing that the chunk holds.
  void order_scores(std::span<const TokenId> targets) {
    orders_.clear();
    const auto wants = std::min(std::ssize(sequences_.batch().wants), std::ssize(targets));
    for (int32_t i = 0; i < wants; ++i) {
      orders_.scored.push_back(targets[static_cast<size_t>(i)]);
      orders_.draws.push_back({.want = i, .kind = DrawKind::kScore, .scored = {i, i + 1}});
    }
  }

  absl::Status add_scores(int32_t position, Tally& tally) const {
    for (size_t i = 0; i < output_.drawn.size(); ++i) {
      const double logprob = output_.scored[i];
      if (output_.drawn[i].error != RowError::kNone || !std::isfinite(logprob)) {
        return internal_error("the logits of token {} are not all numbers",
                              position + static_cast<int32_t>(i));
      }
      tally.add(-logprob);
    }
    return absl::OkStatus();
  }

  Executor& executor_;
  FixedSequences sequences_;
  DrawOrders orders_;
  StepOutput output_;
};

}  // namespace

absl::StatusOr<Perplexity> measure_perplexity(Executor& executor, const PerplexityOrder& order) {
  const int64_t filled = std::ssize(order.tokens) / order.context;
  if (filled < 1) {
    return invalid_argument("the text has {} tokens, fewer than one chunk of {}",
                            order.tokens.size(), order.context);
  }
  const int64_t chunks = order.chunks_max > 0 ? std::min(order.chunks_max, filled) : filled;
  Scorer scorer(executor, order.context);
  Tally tally;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const auto begin = order.tokens.begin() + chunk * order.context;
    std::vector<TokenId> tokens(begin, begin + order.context);
    if (order.first_token) tokens[0] = *order.first_token;
    const absl::Status scored = scorer.score(tokens, order.context / 2, tally);
    if (!scored.ok()) return internal_error("chunk {}: {}", chunk + 1, message_of(scored));
    if (order.progress) {
      order.progress(static_cast<double>(chunk + 1) / static_cast<double>(chunks),
                     tally.perplexity());
    }
  }
  return Perplexity{tally.perplexity(), tally.standard_error(), tally.tokens, chunks};
}

}  // namespace millrace
