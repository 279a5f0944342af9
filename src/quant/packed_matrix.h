#pragma once

#include <cstdint>

#include "base/status.h"
#include "quant/panel.h"
#include "tensor/buffer.h"
#include "tensor/view.h"

namespace millrace {

// A weight matrix [rows, width] as the kernels read it: panels of 16 rows, k ascending inside, one
// contiguous stream a panel. The values are exactly those of the source format. One layout for
// every instruction set.
class PackedMatrix {
 public:
  // Bytes of the packed form; rows are padded to whole panels.
  static int64_t bytes(DType format, int64_t rows, int64_t width);

  // An empty matrix over `storage` (bytes(...) long, 64-byte aligned, outlives this object), to be
  // filled by pack().
  PackedMatrix(DType format, int64_t rows, int64_t width, std::byte* storage);
  PackedMatrix() = default;

  // Packs the source, a tensor of the same format and width, into rows [first_row, ...), first_row
  // a multiple of kPanelRows. Padding rows become zero. Different rows may be packed at once.
  // False: some of the values are not numbers.
  [[nodiscard]] bool pack(const TensorView& source, int64_t first_row = 0);
  // Rows [first_row, first_row + rows) as a matrix over the same memory. first_row: a multiple of
  // kPanelRows.
  PackedMatrix part(int64_t first_row, int64_t rows) const;
  // Row i back as float32: exact. out: [width].
  void unpack_row(int64_t row, float* out) const { unpack(row, 0, width_, out); }
  // Elements [first, first + count) of it, in whole blocks of the format. out: [count].
  void unpack(int64_t row, int64_t first, int64_t count, float* out) const;

  DType format() const { return format_; }
  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  int64_t panels() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  int64_t panel_bytes() const { return panel_bytes_; }
  const std::byte* panel(int64_t i) const { return storage_ + i * panel_bytes_; }

 private:
  DType format_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t width_ = 0;
  int64_t panel_bytes_ = 0;
  std::byte* storage_ = nullptr;
};

}  // namespace millrace
