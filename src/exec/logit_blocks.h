#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/draw_order.h"

namespace millrace {

// The logit of a token that is never drawn.
inline constexpr float kNever = -std::numeric_limits<float>::infinity();

// A row of logits in blocks, with the largest of each, so that whoever wants large ones passes over
// most of the vocabulary. What an order changes is laid over the row by whole blocks: most stay
// where the model wrote them.
class LogitBlocks {
 public:
  static constexpr size_t kBlock = 64;

  explicit LogitBlocks(int64_t vocab);
  int64_t bytes() const;  // of its working memory

  int64_t vocab() const { return static_cast<int64_t>(vocab_); }
  int64_t blocks() const { return std::ssize(blocks_); }
  size_t padded() const { return changed_.size(); }  // the vocabulary in whole blocks

  // Takes a row of `vocab` logits, which stay as they are as long as they are looked at, and judges
  // it.
  void look(std::span<const float> row);
  // Lays an order's penalties, bias and mask over the row, and judges it.
  void adjust(const DrawOrders& orders, const DrawOrder& order);

  // What follows is of the row as it is now; without an error its largest logit is a number.
  RowError error() const { return error_; }
  float max() const { return max_; }
  TokenId argmax() const;  // the lowest that has it

  // A logit that `count` of them at least reach, and not many more where `count` is small.
  float least_of(int64_t count);
  // The tokens whose logits are at least `least`, in order, and these logits, filled up with minus
  // infinity to whole fours. Returns how many. The lists have room for padded() entries.
  size_t gather(float least, std::span<TokenId> tokens, std::span<float> logits) const;

  // Sums the weights (exec/softmax.h) in each block.
  void weigh(float temperature);
  double weight() const;  // of all blocks
  // The token at which the running sum of weights passes `fraction` of the whole, as index_at() has
  // it. temperature: with which the blocks were weighed.
  TokenId token_at(double fraction, float temperature) const;

 private:
  void judge();
  std::span<const float> block(size_t i) const { return {blocks_[i], kBlock}; }
  float* own(size_t block) { return changed_.data() + block * kBlock; }
  float* change(size_t block);
  float& logit(TokenId token);
  void penalise(const DrawOrders& orders, const DrawOrder& order);
  void allow_only(std::span<const uint32_t> mask);

  size_t vocab_;
  // Each block's logits, minus infinity past the vocabulary: in the row, or in changed_.
  std::vector<const float*> blocks_;
  std::vector<float> changed_;  // [blocks, kBlock]
  std::vector<float> maxima_;   // [blocks]
  std::vector<float> ordered_;  // [blocks]
  std::vector<double> sums_;    // [blocks]
  RowError error_ = RowError::kNone;
  float max_ = 0;
};

}  // namespace millrace
