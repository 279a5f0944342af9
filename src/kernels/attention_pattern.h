#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_kernels.h"

// Attention patterns: from a batch, once a step, the keys that each row reads, and where they are
// stored.

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

// Where the rows of draft trees find their keys. The path of row r is slots[starts[r]] up to
// slots[starts[r + 1]]: those of the last keys that it reads, its own at the end; keys before, and
// all of a row without a path, are stored at the slots that equal their positions.
struct KeyPaths {
  std::vector<int32_t> slots;
  std::vector<int32_t> starts;  // [rows + 1]

  int32_t length(int64_t row) const {
    return starts[static_cast<size_t>(row) + 1] - starts[static_cast<size_t>(row)];
  }
};

// parents: [rows] of a batch as core/batch.h has them, or empty. A row's slot differs from its
// position if that of a row which it follows does.
inline void list_paths(std::span<const int32_t> positions, std::span<const int32_t> slots,
                       std::span<const int32_t> parents, KeyPaths& paths) {
  paths.slots.clear();
  paths.starts.assign(1, 0);
  for (size_t row = 0; row < parents.size(); ++row) {
    for (size_t at = row; slots[at] != positions[at]; at = static_cast<size_t>(parents[at])) {
      paths.slots.push_back(slots[at]);
    }
    std::reverse(paths.slots.begin() + paths.starts.back(), paths.slots.end());
    paths.starts.push_back(static_cast<int32_t>(paths.slots.size()));
  }
}

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
