#include "exec/ranking.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "exec/float4.h"
#include "exec/softmax.h"

namespace millrace {
namespace {

// Scores are nats: 1024 bins of a 32nd reach from the best entry down to e^-32 of its probability;
// the last bin takes the rest.
constexpr int kBins = 1024;
constexpr float kBinsPerNat = 32;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Int4 bins4(Float4 scores, float top) {
  const Float4 bins = (top - scores) * kBinsPerNat;
  const Int4 near = bins < kBins - 1;
  return __builtin_convertvector(keep4(near, bins), Int4) | (~near & (kBins - 1));
}

// Calls visit(i) for every score from `least` to `most`.
template <typename Visit>
void visit_between(float least, float most, std::span<const float> scores, const Visit& visit) {
  const auto lies_between = [=](auto x) { return (x >= least) & (x <= most); };
  size_t i = 0;
  for (; i + kFour <= scores.size(); i += kFour) {
    if (!any4(lies_between(load4(scores.data() + i)))) continue;
    for (size_t lane = i; lane < i + kFour; ++lane) {
      if (lies_between(scores[lane])) visit(lane);
    }
  }
  for (; i < scores.size(); ++i) {
    if (lies_between(scores[i])) visit(i);
  }
}

// The last of the best keys that together reach `mass`: halves at a time, in linear time.
uint64_t last_within(std::span<uint64_t> keys, std::span<const float> weights, double mass) {
  const auto weight = [&](size_t i) { return weights.empty() ? 1.0 : double{weights[i]}; };
  while (keys.size() > 1) {
    const size_t half = keys.size() / 2;
    std::nth_element(keys.begin(), keys.begin() + static_cast<int64_t>(half), keys.end(),
                     std::greater<>());
    double better = 0;
    for (const uint64_t key : keys.first(half)) better += weight(Ranking::index_of(key));
    if (better >= mass) {
      keys = keys.first(half);
    } else {
      mass -= better;
      keys = keys.subspan(half);
    }
  }
  return keys.front();
}

}  // namespace

Ranking::Ranking(int64_t entries_max) : bins_(kBins) {
  keys_.reserve(static_cast<size_t>(entries_max));
}

int64_t Ranking::bytes() const {
  return static_cast<int64_t>(bins_.size() * sizeof(double) + keys_.capacity() * sizeof(uint64_t));
}

// The bits of a float32 order as an unsigned integer when negative numbers are inverted and
// positive ones get the sign bit; adding zero makes -0 the same as 0.
uint64_t Ranking::key_of(float score, size_t index) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);
  const uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return (uint64_t{ordered} << 32) | ~static_cast<uint32_t>(index);
}

float Ranking::score_of(uint64_t key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>((ordered >> 31) != 0 ? ordered & 0x7fffffffU : ~ordered);
}

void Ranking::fill_bins(std::span<const float> scores, std::span<const float> weights, float top) {
  std::ranges::fill(bins_, 0.0);
  for (size_t i = 0; i < scores.size(); i += kFour) {
    const Int4 places = bins4(load4(scores, i, -kInfinity), top);
    const Float4 mass = weights.empty() ? all4(1) : load4(weights, i, 0);
    for (size_t lane = 0; lane < kFour; ++lane) {
      bins_[static_cast<size_t>(places[lane])] += double{mass[lane]};
    }
  }
}

// The bin in which `mass` is reached; takes what lies in better bins off `mass`. Where all entries
// together do not reach it, the last bin of any.
int Ranking::find_bin(double& mass) const {
  int last = 0;
  for (int i = 0; i < kBins; ++i) {
    const double here = bins_[static_cast<size_t>(i)];
    if (here == 0) continue;
    if (here >= mass) return i;
    last = i;
    mass -= here;
  }
  mass = kInfinity;
  return last;
}

uint64_t Ranking::cut(std::span<const float> scores, std::span<const float> weights, double mass) {
  const float top = max_of(scores);
  fill_bins(scores, weights, top);
  const int bin = find_bin(mass);
  // One bin more than needed on either side, so that rounding leaves no entry of the bin out.
  const auto score_at = [&](int place) { return top - static_cast<float>(place) / kBinsPerNat; };
  const float least = bin < kBins - 2 ? score_at(bin + 2) : -kInfinity;
  const float most = bin > 0 ? score_at(bin - 1) : top;
  keys_.clear();
  visit_between(least, most, scores, [&](size_t i) {
    if (bins4(all4(scores[i]), top)[0] == bin) keys_.push_back(key_of(scores[i], i));
  });
  return last_within(keys_, weights, mass);
}

uint64_t Ranking::cut_at_mass(std::span<const float> scores, std::span<const float> weights,
                              double mass) {
  return cut(scores, weights.first(scores.size()), mass);
}

uint64_t Ranking::cut_at_count(std::span<const float> scores, int64_t count) {
  return cut(scores, {}, static_cast<double>(count));
}

std::span<const uint64_t> Ranking::best(std::span<const float> scores, int64_t count) {
  const uint64_t last = cut_at_count(scores, count);
  keys_.clear();
  visit_between(score_of(last), kInfinity, scores, [&](size_t i) {
    if (const uint64_t key = key_of(scores[i], i); key >= last) keys_.push_back(key);
  });
  std::sort(keys_.begin(), keys_.end(), std::greater<>());
  return keys_;
}

}  // namespace millrace
