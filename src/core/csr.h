#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

// Half-open range into a flat array.
struct Range {
  int32_t begin = 0;
  int32_t end = 0;
  int32_t size() const { return end - begin; }
};

// Rows of different lengths in one flat array.
template <typename T>
struct Csr {
  std::vector<int32_t> offsets = {0};  // [rows + 1]
  std::vector<T> values;

  int32_t rows() const { return static_cast<int32_t>(offsets.size()) - 1; }
  std::span<const T> row(int32_t i) const {
    const auto begin = static_cast<size_t>(offsets[static_cast<size_t>(i)]);
    const auto end = static_cast<size_t>(offsets[static_cast<size_t>(i) + 1]);
    return std::span<const T>(values).subspan(begin, end - begin);
  }
  // Ends the row that values were pushed to.
  void close_row() { offsets.push_back(static_cast<int32_t>(values.size())); }
  void clear() {
    offsets.resize(1);
    values.clear();
  }
};

}  // namespace millrace
