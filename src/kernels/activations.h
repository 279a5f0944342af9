#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace millrace {

// In which forms a matrix of activations is kept for the products that read it. Quantised weights
// read 8 bits, 16 bits or f32 (models/load.h says which), BF16 weights bf16 where the tier has such
// products (kernels/kernels.h), or f32; all others read f32. The bits of weights in blocks of 256
// are q8_k and q16_k, of all others q8 and q16.
struct ActivationForms {
  bool f32 = false;
  bool q8 = false;
  bool q16 = false;
  bool q8_k = false;
  bool q16_k = false;
  bool bf16 = false;

  bool operator==(const ActivationForms& other) const = default;
  ActivationForms& operator|=(const ActivationForms& other) {
    f32 |= other.f32;
    q8 |= other.q8;
    q16 |= other.q16;
    q8_k |= other.q8_k;
    q16_k |= other.q16_k;
    bf16 |= other.bf16;
    return *this;
  }
  bool includes(const ActivationForms& other) const {
    ActivationForms both = *this;
    both |= other;
    return both == *this;
  }
  // Elements that are made together, as they share something in one of the forms.
  int64_t stretch() const { return q8_k || q16_k ? 256 : q8 || q16 ? 32 : 1; }
};

// The forms of 8 and of 16 bits that weights of this type read. is_quantised(type).
constexpr ActivationForms compact_forms(DType type) {
  const bool k = info_of(type).block_elements == 256;
  return {.q8 = !k, .q8_k = k};
}
constexpr ActivationForms exact_forms(DType type) {
  const bool k = info_of(type).block_elements == 256;
  return {.q16 = !k, .q16_k = k};
}

// Activations as inputs of matrix products: `rows` x `width`, in the forms that were asked for. A
// view of workspace memory. q8: blocks of 32 along a row: round(x * 127 / max|x|) and the scale
// max|x| / 127; beside it what the kernels need of the block's sums. q16: the same, and beside each
// block a second one of what its rounding left out, so that a value has about 15 bits. q8_k, q16_k:
// the same in blocks of 256. Their layout is private to the kernels.
struct Activations {
  ActivationForms forms;
  int64_t rows = 0;
  int64_t width = 0;         // a multiple of forms.stretch()
  float* f32 = nullptr;      // [rows, width]
  uint16_t* bf16 = nullptr;  // [rows, width], rounded to nearest
  std::byte* q8 = nullptr;
  std::byte* q16 = nullptr;
  std::byte* q8_k = nullptr;
  std::byte* q16_k = nullptr;

  // Bytes of workspace that activations of this shape need, a multiple of 64.
  static int64_t bytes(ActivationForms forms, int64_t rows, int64_t width);
  // Lays them out in `workspace`, which is aligned to 64 bytes.
  static Activations lay_out(ActivationForms forms, int64_t rows, int64_t width,
                             std::byte* workspace);
};

}  // namespace millrace
