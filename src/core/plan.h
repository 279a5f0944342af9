#pragma once

#include <cstdint>
#include <vector>

#include "core/sequence.h"

namespace millrace {

// The next `rows` known tokens of a sequence are computed in this step.
struct PlannedSlice {
  Sequence* sequence = nullptr;
  int32_t rows = 0;
};

// Which sequences compute how many rows in one step.
struct Plan {
  std::vector<PlannedSlice> slices;  // by rank
  int32_t preempted = 0;
  bool short_of_memory = false;  // a sequence got no blocks for its rows, or those of another

  void clear() {
    slices.clear();
    preempted = 0;
    short_of_memory = false;
  }
};

}  // namespace millrace
