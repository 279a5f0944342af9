#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_kernels.h"

// Attention patterns: from a batch, once a step, the keys that each row reads.

namespace millrace::ops {

// Row r of the batch reads ranges[starts[r]] up to ranges[starts[r + 1]]: at least one, none empty,
// ascending, without overlap.
struct KeyRanges {
  std::vector<KeyRange> ranges;
  std::vector<int32_t> starts;  // [rows + 1]

  std::span<const KeyRange> of(int64_t row) const {
    const auto begin = static_cast<size_t>(starts[static_cast<size_t>(row)]);
    const auto end = static_cast<size_t>(starts[static_cast<size_t>(row) + 1]);
    return std::span(ranges).subspan(begin, end - begin);
  }
};

// A row at position p reads the keys up to its own, with a window those above p - window, with
// chunks those of its own chunk, from p - p % chunk on.
struct CausalPattern {
  int32_t window = 0;  // 0: none
  int32_t chunk = 0;   // 0: none

  bool operator==(const CausalPattern&) const = default;

  void list(std::span<const int32_t> positions, KeyRanges& keys) const {
    keys.ranges.clear();
    keys.starts.assign(1, 0);
    for (const int32_t position : positions) {
      const int32_t in_window = window > 0 ? std::max(0, position + 1 - window) : 0;
      const int32_t in_chunk = chunk > 0 ? position - position % chunk : 0;
      const int32_t begin = std::max(in_window, in_chunk);
      keys.ranges.push_back({.begin = begin, .end = position + 1});
      keys.starts.push_back(static_cast<int32_t>(keys.ranges.size()));
    }
  }
};

}  // namespace millrace::ops
