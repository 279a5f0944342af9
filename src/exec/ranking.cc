#include "exec/ranking.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

namespace millrace {
namespace {

// Scores are nats: 1024 bins of a 32nd reach from the best token down to e^-32 of its probability;
// the last bin takes the rest.
constexpr int kBins = 1024;
constexpr float kBinsPerNat = 32;

int bin_of(float distance) {
  const float bin = distance * kBinsPerNat;
  return bin < kBins - 1 ? static_cast<int>(bin) : kBins - 1;
}

// The last of the best keys that together reach `mass`: halves at a time, in linear time.
template <typename Weight>
uint64_t last_within(std::span<uint64_t> keys, const Weight& weight, double mass) {
  while (keys.size() > 1) {
    const auto half = static_cast<int64_t>(keys.size() / 2);
    std::nth_element(keys.begin(), keys.begin() + half, keys.end(), std::greater<>());
    double better = 0;
    for (int64_t i = 0; i < half; ++i) {
      better += weight(Ranking::token_of(keys[static_cast<size_t>(i)]));
    }
    if (better >= mass) {
      keys = keys.first(static_cast<size_t>(half));
    } else {
      mass -= better;
      keys = keys.subspan(static_cast<size_t>(half));
    }
  }
  return keys.front();
}

}  // namespace

Ranking::Ranking(int64_t vocab) : counts_(kBins), masses_(kBins) {
  keys_.reserve(static_cast<size_t>(vocab));
}

uint64_t Ranking::key_of(float score, TokenId token) {
  // The bits of a float32 order as an unsigned integer when negative numbers are inverted and
  // positive ones get the sign bit; adding zero makes -0 the same as 0.
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);
  const uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return (uint64_t{ordered} << 32) | static_cast<uint32_t>(~static_cast<uint32_t>(token));
}

// The bin in which `mass` is reached; takes what lies in better bins off `mass`.
template <typename Weight>
int Ranking::find_bin(std::span<const float> scores, const Weight& weight, double& mass) {
  std::fill(counts_.begin(), counts_.end(), 0);
  std::fill(masses_.begin(), masses_.end(), 0.0);
  top_ = *std::max_element(scores.begin(), scores.end());
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto bin = static_cast<size_t>(bin_of(top_ - scores[i]));
    ++counts_[bin];
    masses_[bin] += weight(static_cast<TokenId>(i));
  }
  size_t last = 0;  // where all tokens together do not reach it
  for (size_t bin = 0; bin < counts_.size(); ++bin) {
    if (counts_[bin] == 0) continue;
    if (masses_[bin] >= mass) return static_cast<int>(bin);
    last = bin;
    mass -= masses_[bin];
  }
  mass = std::numeric_limits<double>::infinity();
  return static_cast<int>(last);
}

template <typename Weight>
uint64_t Ranking::cut(std::span<const float> scores, const Weight& weight, double mass) {
  const int bin = find_bin(scores, weight, mass);
  keys_.clear();
  for (size_t i = 0; i < scores.size(); ++i) {
    if (bin_of(top_ - scores[i]) == bin) {
      keys_.push_back(key_of(scores[i], static_cast<TokenId>(i)));
    }
  }
  return last_within(std::span(keys_), weight, mass);
}

uint64_t Ranking::cut_at_mass(std::span<const float> scores, std::span<const float> weights,
                              double mass) {
  return cut(
      scores, [&](TokenId token) { return double{weights[static_cast<size_t>(token)]}; }, mass);
}

uint64_t Ranking::cut_at_count(std::span<const float> scores, int64_t count) {
  return cut(
      scores, [](TokenId) { return 1.0; }, static_cast<double>(count));
}

std::span<const uint64_t> Ranking::best(std::span<const float> scores, int64_t count) {
  const uint64_t last = cut_at_count(scores, count);
  keys_.clear();
  for (size_t i = 0; i < scores.size(); ++i) {
    const uint64_t key = key_of(scores[i], static_cast<TokenId>(i));
    if (key >= last) keys_.push_back(key);
  }
  std::sort(keys_.begin(), keys_.end(), std::greater<>());
  return keys_;
}

}  // namespace millrace
