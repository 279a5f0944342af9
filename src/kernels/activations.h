#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace millrace {

// In which forms a matrix of activations is kept for the products that read it. Quantised weights
// read q8, q16 or f32 (models/load.h says which), BF16 weights bf16 where the tier has such
// products (kernels/kernels.h), or f32; all others read f32.
struct ActivationForms {
  bool f32 = false;
  bool q8 = false;
  bool q16 = false;
  bool bf16 = false;

  bool operator==(const ActivationForms& other) const = default;
  ActivationForms& operator|=(const ActivationForms& other) {
    f32 |= other.f32;
    q8 |= other.q8;
    q16 |= other.q16;
    bf16 |= other.bf16;
    return *this;
  }
};

// Activations as inputs of matrix products: `rows` x `width`, in the forms that were asked for. A
// view of workspace memory. q8: blocks of 32 along a row: round(x * 127 / max|x|) and the scale
// max|x| / 127; beside it what the kernels need of the block's sums. q16: the same, and beside each
// block a second one of what its rounding left out, so that a value has about 15 bits. Their layout
// is private to the kernels.
struct Activations {
  ActivationForms forms;
  int64_t rows = 0;
  int64_t width = 0;         // a multiple of 32 where forms.q8 or forms.q16
  float* f32 = nullptr;      // [rows, width]
  uint16_t* bf16 = nullptr;  // [rows, width], rounded to nearest
  std::byte* q8 = nullptr;
  std::byte* q16 = nullptr;

  // Bytes of workspace that activations of this shape need, a multiple of 64.
  static int64_t bytes(ActivationForms forms, int64_t rows, int64_t width);
  // Lays them out in `workspace`, which is aligned to 64 bytes.
  static Activations lay_out(ActivationForms forms, int64_t rows, int64_t width,
                             std::byte* workspace);
};

}  // namespace millrace
