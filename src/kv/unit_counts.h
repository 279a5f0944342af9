#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include <absl/container/inlined_vector.h>

namespace millrace {

// How many units of each group. Of groups that were never named: none.
class UnitCounts {
 public:
  UnitCounts() = default;
  UnitCounts(std::initializer_list<int64_t> counts) : counts_(counts) {}

  int64_t operator[](int32_t group) const {
    const auto i = static_cast<size_t>(group);
    return i < counts_.size() ? counts_[i] : 0;
  }
  void add(int32_t group, int64_t units) {
    const auto i = static_cast<size_t>(group);
    counts_.resize(std::max(counts_.size(), i + 1));
    counts_[i] += units;
  }
  void operator+=(const UnitCounts& other) {
    for (int32_t group = 0; group < other.groups(); ++group) add(group, other[group]);
  }
  void operator-=(const UnitCounts& other) {
    for (int32_t group = 0; group < other.groups(); ++group) add(group, -other[group]);
  }

 private:
  int32_t groups() const { return static_cast<int32_t>(counts_.size()); }

  absl::InlinedVector<int64_t, 6> counts_;  // [groups]
};

}  // namespace millrace
