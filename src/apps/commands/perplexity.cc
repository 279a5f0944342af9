#include "apps/commands/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>

#include "exec/fixed_sequences.h"
#include "exec/softmax.h"

namespace millrace {
namespace {

// Rows computed in one step: enough for the matrix products to run at their best.
constexpr int32_t kStepRows = 512;

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
  Scorer(LocalExecutor& executor, LanePool& lanes, int32_t context)
      : executor_(executor),
        lanes_(lanes),
        sequences_(executor.capacity(), context),
        nlls_(static_cast<size_t>(kStepRows)) {}

  // INTERNAL: a row's logits are not numbers, and so would be whatever was made of them.
  absl::Status score(std::span<const TokenId> window, int32_t scored_from, Tally& tally) {
    const auto size = static_cast<int32_t>(window.size());
    for (int32_t at = 0; at < size;) {
      const bool scored = at >= scored_from;
      const int32_t rows = std::min(kStepRows, (scored ? size : scored_from) - at);
      sequences_.clear();
      sequences_.add(0, at, window.subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
                     scored ? SliceWants::kAll : SliceWants::kNone);
      const Rows<const float> logits = executor_.logits(sequences_.batch());
      if (scored) {
        score_rows(logits, window.subspan(static_cast<size_t>(at) + 1), tally);
        if (!std::isfinite(tally.sum)) {
          return internal_error("the logits of tokens {} to {} of a window are not all numbers", at,
                                at + rows - 1);
        }
      }
      at += rows;
    }
    return absl::OkStatus();
  }

 private:
  // Row i predicts targets[i]; the window's last row predicts nothing that the window holds.
  void score_rows(Rows<const float> logits, std::span<const TokenId> targets, Tally& tally) {
    const int64_t rows = std::min<int64_t>(logits.rows, std::ssize(targets));
    lanes_.run([&](Lane& lane) {
      const WorkRange mine = lane.share(rows);
      for (int64_t i = mine.begin; i < mine.end; ++i) {
        const std::span<const float> row(logits.row(i), static_cast<size_t>(logits.width));
        if (!std::ranges::all_of(row, [](float logit) { return std::isfinite(logit); })) {
          nlls_[static_cast<size_t>(i)] = std::numeric_limits<double>::quiet_NaN();
          continue;
        }
        const float max = scan_logits(row).max;
        const double target = row[static_cast<size_t>(targets[static_cast<size_t>(i)])];
        nlls_[static_cast<size_t>(i)] = softmax_sums(row, max).log_weight() + max - target;
      }
    });
    for (int64_t i = 0; i < rows; ++i) tally.add(nlls_[static_cast<size_t>(i)]);
  }

  LocalExecutor& executor_;
  LanePool& lanes_;
  FixedSequences sequences_;
  std::vector<double> nlls_;  // [kStepRows]
};

}  // namespace

absl::StatusOr<Perplexity> measure_perplexity(const Loaded& loaded, const ComputeOptions& compute,
                                              const PerplexityOrder& order) {
  const int64_t filled = std::ssize(order.tokens) / order.context;
  if (filled < 1) {
    return invalid_argument("the text has {} tokens, fewer than one window of {}",
                            order.tokens.size(), order.context);
  }
  const int64_t chunks = order.chunks_max > 0 ? std::min(order.chunks_max, filled) : filled;
  ASSIGN_OR_RETURN(const auto executor,
                   make_executor(loaded, compute, 1, order.context, kStepRows));
  Scorer scorer(*executor, *loaded.lanes, order.context);
  Tally tally;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const auto begin = order.tokens.begin() + chunk * order.context;
    std::vector<TokenId> window(begin, begin + order.context);
    if (order.first_token) window[0] = *order.first_token;
    const absl::Status scored = scorer.score(window, order.context / 2, tally);
    if (!scored.ok()) return internal_error("window {}: {}", chunk + 1, message_of(scored));
    if (order.progress) {
      order.progress(static_cast<double>(chunk + 1) / static_cast<double>(chunks),
                     tally.perplexity());
    }
  }
  return Perplexity{tally.perplexity(), tally.standard_error(), tally.tokens, chunks};
}

}  // namespace millrace
