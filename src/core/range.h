#pragma once

#include <cstdint>

namespace millrace {

// Half-open range into one of the flat arrays of a step.
struct Range {
  int32_t begin = 0;
  int32_t end = 0;
  int32_t size() const { return end - begin; }
};

}  // namespace millrace
