#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// What the operations of recurrent units (kernels/ops.h) take of a batch and of the cache.

namespace millrace::ops {

// After `rows` rows of the slice its state is also copied into `unit`.
struct SliceSave {
  int32_t rows = 0;
  int32_t unit = 0;
};

// One sequence's rows in the batch: [row, row + rows), positions ascending by one. Its state lies
// in `unit`, is read there, is as after the last row when the operation ends, and is zero before a
// row at position 0 whatever lies there.
struct StateSlice {
  int32_t row = 0;
  int32_t rows = 0;
  int32_t unit = 0;
  bool begins = false;                    // its first row is at position 0
  std::span<const SliceSave> saves = {};  // ascending, of 1 to `rows` rows
};

struct StateRows {
  std::span<const StateSlice> slices;
};

// One body's part of the states: that of unit u begins at data + u * stride, as float32, aligned to
// 64 bytes. Bodies that keep several things take parts of it by from().
struct StateLayer {
  std::byte* data = nullptr;
  int64_t stride = 0;  // bytes

  float* of(int32_t unit) const { return reinterpret_cast<float*>(data + unit * stride); }
  // pre: a multiple of 16.
  StateLayer from(int64_t floats) const {
    return {data + floats * static_cast<int64_t>(sizeof(float)), stride};
  }
};

}  // namespace millrace::ops
