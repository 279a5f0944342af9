#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/draw_order.h"

namespace millrace {

// A row of logits in blocks, with the largest of each, so that whoever wants large ones passes over
// most of the vocabulary. What an order changes is laid over the row by whole blocks: most stay
// where the model wrote them.
class LogitBlocks {
 public:
  static constexpr size_t kBlock = 64;

  explicit LogitBlocks(int64_t vocab);
  int64_t bytes() const;  // of its working memory

  // Takes a row of `vocab` logits, which stay as they are as long as it is looked at.
  void read(std::span<const float> row);
  // Lays an order's penalties, bias and mask over the row that was read.
  void adjust(const DrawOrders& orders, const DrawOrder& order);

  int64_t vocab() const { return static_cast<int64_t>(vocab_); }
  size_t padded() const { return changed_.size(); }  // the vocabulary in whole blocks

  // What follows is of the row as it is now; without an error its largest logit is a number.
  RowError error() const { return error_; }
  float max() const { return max_; }
  TokenId argmax() const;  // the lowest that has it

  // A logit that `count` of them at least reach, and not many more where `count` is small.
  float least_of(int64_t count);
  // The tokens whose logits are at least `least`, in order, and these logits; by fours, so that
  // others are between them with minus infinity. The lists hold padded() entries. Returns how many.
  size_t gather(float least, std::span<TokenId> tokens, std::span<float> logits) const;

  // Sums each block's weights (exec/softmax.h) at a temperature. Returns the sum of all.
  double weigh(float temperature);
  // The token at which the running sum of the weights that were summed last passes `fraction` of
  // the whole, as index_at() has it.
  TokenId token_at(double fraction) const;

 private:
  size_t blocks() const { return blocks_.size(); }
  std::span<const float> block(size_t i) const { return {blocks_[i], kBlock}; }
  float* change(size_t block);
  float& logit(TokenId token);
  void penalise(const DrawOrders& orders, const DrawOrder& order);
  void allow_only(std::span<const uint32_t> mask);
  void look(std::span<const int32_t> blocks);
  void judge(bool numbers);

  size_t vocab_;
  std::vector<const float*>
      blocks_;                    // [blocks] of kBlock logits, minus infinity past the vocabulary
  std::vector<float> maxima_;     // [blocks]
  std::vector<float> scratch_;    // [blocks]
  std::vector<double> sums_;      // [blocks]
  std::vector<float> changed_;    // [blocks, kBlock]
  std::vector<int32_t> changes_;  // blocks that are in changed_
  RowError error_ = RowError::kNone;
  float max_ = 0;
  float temperature_ = 0;  // of sums_; zero: none
};

}  // namespace millrace
