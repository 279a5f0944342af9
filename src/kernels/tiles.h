#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/activations.h"
#include "kernels/q8.h"

namespace millrace {

// Up to kTileRows neighbouring rows. Their q8 blocks lie together: [width / 32, rows of the tile].
struct Tile {
  int64_t first = 0;
  int64_t rows = 0;
};

inline int64_t tiles_of(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }

inline Tile tile_at(int64_t rows, int64_t index) {
  const int64_t first = index * kTileRows;
  return {first, std::min<int64_t>(kTileRows, rows - first)};
}

inline Q8Block* q8_of(const Activations& in, const Tile& tile) {
  if (!in.forms.q8) return nullptr;
  return reinterpret_cast<Q8Block*>(in.q8) + tile.first * (in.width / kQ8Width);
}

inline float* f32_of(const Activations& in, int64_t row) {
  return in.forms.f32 ? in.f32 + row * in.width : nullptr;
}

inline uint16_t* bf16_of(const Activations& in, int64_t row) {
  return in.forms.bf16 ? in.bf16 + row * in.width : nullptr;
}

}  // namespace millrace
