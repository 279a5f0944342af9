#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace millrace {

// A row-major matrix in memory that it does not own; neighbouring rows are `stride` elements apart.
template <typename T>
struct Rows {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t width = 0;
  int64_t stride = 0;

  T* row(int64_t i) const { return data + i * stride; }
  operator Rows<const T>() const { return {data, rows, width, stride}; }
};

// A tensor's type and shape as a file has them. shape[0] is the slowest dimension and
// shape[rank - 1] the contiguous one (GGUF lists them the other way round): a weight of a linear
// layer is [out, in].
struct TensorLayout {
  DType dtype = DType::kF32;
  int32_t rank = 0;
  std::array<int64_t, 4> shape = {1, 1, 1, 1};

  int64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  int64_t width() const { return rank == 0 ? 1 : shape[static_cast<size_t>(rank) - 1]; }
  int64_t rows() const { return width() == 0 ? 0 : elements() / width(); }
  int64_t bytes() const { return rows() * row_bytes(dtype, width()); }
};

// A tensor in memory that it does not own.
struct TensorView : TensorLayout {
  const std::byte* data = nullptr;

  std::span<const std::byte> span() const { return {data, static_cast<size_t>(bytes())}; }
};

}  // namespace millrace
