#include "exec/logit_blocks.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <functional>
#include <numeric>

#include "exec/float4.h"
#include "exec/softmax.h"

namespace millrace {
namespace {

constexpr size_t kBlock = LogitBlocks::kBlock;

// A penalised logit goes no further: what follows it stays a number.
constexpr float kFarthest = 1e30F;

// What every block that allows nothing is.
constexpr auto kForbidden = [] {
  std::array<float, kBlock> block = {};
  for (float& logit : block) logit = kNever;
  return block;
}();

// By four bits of a mask: which of four logits they allow.
constexpr auto kAllowed = [] {
  std::array<Int4, 16> masks = {};
  for (int bits = 0; bits < 16; ++bits) {
    masks[static_cast<size_t>(bits)] =
        Int4{-(bits & 1), -(bits >> 1 & 1), -(bits >> 2 & 1), -(bits >> 3)};
  }
  return masks;
}();

// The largest of a block; infinity where a NaN is in it.
float largest_of(const float* block) {
  Float4 top = load4(block);
  Int4 numbers = top <= FLT_MAX;  // false with a NaN
  for (size_t i = kFour; i < kBlock; i += kFour) {
    const Float4 four = load4(block + i);
    numbers &= four <= FLT_MAX;
    top = max4(four, top);
  }
  return any4(~numbers) ? -kNever : largest_of4(top);
}

void allow(uint64_t allowed, float* block) {
  for (size_t i = 0; i < kBlock; i += kFour) {
    const Int4 mask = kAllowed[allowed >> i & 15];
    store4(block + i, select4(mask, load4(block + i), all4(kNever)));
  }
}

template <typename T>
std::span<const T> slice(const std::vector<T>& values, Range range) {
  return std::span(values).subspan(static_cast<size_t>(range.begin),
                                   static_cast<size_t>(range.size()));
}

}  // namespace

LogitBlocks::LogitBlocks(int64_t vocab) : vocab_(static_cast<size_t>(vocab)) {
  const size_t count = (vocab_ + kBlock - 1) / kBlock;
  blocks_.resize(count);
  maxima_.resize(count);
  ordered_.resize(count);
  sums_.resize(count);
  changed_.resize(count * kBlock, kNever);
}

int64_t LogitBlocks::bytes() const {
  const size_t of_block =
      sizeof(const float*) + 2 * sizeof(float) + sizeof(double) + kBlock * sizeof(float);
  return static_cast<int64_t>(blocks_.size() * of_block);
}

void LogitBlocks::look(std::span<const float> row) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const size_t start = i * kBlock;
    blocks_[i] = row.data() + start;
    if (start + kBlock > vocab_) {
      std::copy_n(blocks_[i], vocab_ - start, own(i));
      blocks_[i] = own(i);
    }
    maxima_[i] = largest_of(blocks_[i]);
  }
  judge();
}

void LogitBlocks::judge() {
  max_ = max_of(maxima_);
  error_ = max_ == -kNever  ? RowError::kNotANumber
           : max_ == kNever ? RowError::kNothingAllowed
                            : RowError::kNone;
}

// The block in its own memory.
float* LogitBlocks::change(size_t block) {
  if (blocks_[block] != own(block)) {
    std::copy_n(blocks_[block], kBlock, own(block));
    blocks_[block] = own(block);
  }
  return own(block);
}

float& LogitBlocks::logit(TokenId token) {
  const auto place = static_cast<size_t>(token);
  return change(place / kBlock)[place % kBlock];
}

// Penalties as Keskar et al. 2019 (CTRL, section 4.1) have the repetition's and OpenAI's API has
// the other two; then bias.
void LogitBlocks::penalise(const DrawOrders& orders, const DrawOrder& order) {
  for (const TokenCount& count : slice(orders.counts, order.counts)) {
    float& value = logit(count.token);
    value = value > 0 ? value / order.repetition : value * order.repetition;
    value = std::clamp(value, -kFarthest, kFarthest);
    if (count.in_output == 0) continue;
    value -= order.presence + order.frequency * static_cast<float>(count.in_output);
  }
  for (const TokenBias& bias : slice(orders.bias, order.bias)) logit(bias.token) += bias.bias;
}

void LogitBlocks::allow_only(std::span<const uint32_t> mask) {
  const auto word = [&](size_t i) { return i < mask.size() ? uint64_t{mask[i]} : 0; };
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const uint64_t allowed = word(2 * i) | word(2 * i + 1) << 32;
    if (allowed == 0) {
      blocks_[i] = kForbidden.data();
      maxima_[i] = kNever;
    } else if (~allowed != 0) {
      allow(allowed, change(i));
    }
  }
}

void LogitBlocks::adjust(const DrawOrders& orders, const DrawOrder& order) {
  if (order.counts.size() + order.bias.size() + order.mask.size() == 0) return;
  penalise(orders, order);
  if (order.mask.size() > 0) allow_only(slice(orders.mask, order.mask));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i] == own(i)) maxima_[i] = largest_of(blocks_[i]);
  }
  judge();
}

TokenId LogitBlocks::argmax() const {
  const auto found = std::ranges::find(maxima_, max_) - maxima_.begin();
  const std::span<const float> logits = block(static_cast<size_t>(found));
  const auto within = std::ranges::find(logits, max_) - logits.begin();
  return static_cast<TokenId>(found * static_cast<int64_t>(kBlock) + within);
}

float LogitBlocks::least_of(int64_t count) {
  if (count > std::ssize(maxima_)) return kNever;
  ordered_ = maxima_;
  const auto nth = ordered_.begin() + (count - 1);
  std::nth_element(ordered_.begin(), nth, ordered_.end(), std::greater<>());
  return *nth;
}

size_t LogitBlocks::gather(float least, std::span<TokenId> tokens, std::span<float> logits) const {
  size_t count = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (maxima_[i] < least) continue;
    const size_t start = i * kBlock;
    const size_t end = std::min(kBlock, vocab_ - start);
    for (size_t four = 0; four < end; four += kFour) {
      if (!any4(load4(blocks_[i] + four) >= least)) continue;
      for (size_t at = four; at < std::min(four + kFour, end); ++at) {
        const float logit = blocks_[i][at];
        tokens[count] = static_cast<TokenId>(start + at);
        logits[count] = logit;
        count += logit >= least ? 1 : 0;  // no branch: any of the four may be the one
      }
    }
  }
  for (; count % kFour != 0; ++count) logits[count] = kNever;
  return count;
}

void LogitBlocks::weigh(float temperature) {
  const Weighing weighing(max_, temperature);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Sum4 sum;
    const size_t size = weighing.vanishes(maxima_[i]) ? 0 : kBlock;
    for (size_t at = 0; at < size; at += kFour) sum.add(weighing(load4(blocks_[i] + at)));
    sums_[i] = sum.total();
  }
}

double LogitBlocks::weight() const { return std::accumulate(sums_.begin(), sums_.end(), 0.0); }

TokenId LogitBlocks::token_at(double fraction, float temperature) const {
  const Weighing weighing(max_, temperature);
  std::array<float, kBlock> weights = {};
  return index_at(sums_, kBlock, fraction, [&](size_t i) {
    millrace::weigh(block(i), weighing, weights);
    return std::span<const float>(weights);
  });
}

}  // namespace millrace
