#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace millrace {

// The largest code not above `value`, within [0, top]. A NaN becomes 0, so that packing is defined
// for every input.
inline int floor_code(float value, int top) {
  if (!(value > 0)) return 0;
  return value >= static_cast<float>(top) ? top : static_cast<int>(value);
}

// The code nearest to `value`, ties to even, within [low, high]. A NaN becomes `low`.
inline int nearest_code(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value >= static_cast<float>(high) ? high : static_cast<int>(std::nearbyint(value));
}

inline float reciprocal_or_zero(float value) { return value == 0 ? 0.0F : 1 / value; }

// The element that is furthest from zero, with its sign.
inline float extreme_of(std::span<const float> values) {
  float extreme = 0;
  for (const float value : values) {
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  }
  return extreme;
}

struct Bounds {
  float min = std::numeric_limits<float>::max();
  float max = std::numeric_limits<float>::lowest();
};

inline Bounds bounds_of(std::span<const float> values) {
  Bounds bounds;
  for (const float value : values) {
    if (value < bounds.min) bounds.min = value;
    if (value > bounds.max) bounds.max = value;
  }
  return bounds;
}

}  // namespace millrace
