#include "quant/packed_matrix.h"

#include <algorithm>

#include "base/check.h"
#include "quant/format.h"
#include "quant/formats.h"

namespace millrace {
namespace {

template <typename Block>
struct PanelOf;
#define DTYPE(name, elements, bytes, gguf) \
  template <>                              \
  struct PanelOf<Block##name> {            \
    using Type = Panel##name;              \
  };
#include "tensor/dtypes.def"
#undef DTYPE

int64_t panels_of(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

int64_t bytes_of_panel(DType format, int64_t width) {
  return visit_format(format, [width]<typename Block>(std::type_identity<Block>) {
    CHECK(width % Block::kElements == 0, "rows of {} are no whole blocks of {}", width,
          Block::kElements);
    return width / Block::kElements * static_cast<int64_t>(sizeof(typename PanelOf<Block>::Type));
  });
}

// Rows [first, first + kPanelRows) of the source; those it does not have become zero. False: some
// of the values are not numbers.
template <typename Block>
bool pack_panel(const TensorView& source, int64_t first, std::byte* out) {
  using Panel = typename PanelOf<Block>::Type;
  auto* panels = reinterpret_cast<Panel*>(out);
  const int64_t blocks = source.width() / Block::kElements;
  const auto block_bytes = static_cast<int64_t>(sizeof(Block));
  const auto rows = static_cast<int>(std::min<int64_t>(kPanelRows, source.rows() - first));
  bool is_finite = true;
  for (int64_t b = 0; b < blocks; ++b) {
    for (int row = 0; row < rows; ++row) {
      const int64_t offset = ((first + row) * blocks + b) * block_bytes;
      const auto block = load_block<Block>(source.data + offset);
      is_finite &= block.is_finite();
      put(panels[b], row, block);
    }
    for (int row = rows; row < kPanelRows; ++row) put(panels[b], row, Block{});
  }
  return is_finite;
}

}  // namespace

int64_t PackedMatrix::bytes(DType format, int64_t rows, int64_t width) {
  return panels_of(rows) * bytes_of_panel(format, width);
}

PackedMatrix::PackedMatrix(DType format, int64_t rows, int64_t width, std::byte* storage)
    : format_(format),
      rows_(rows),
      width_(width),
      panel_bytes_(bytes_of_panel(format, width)),
      storage_(storage) {}

bool PackedMatrix::pack(const TensorView& source, int64_t first_row) {
  CHECK(source.dtype == format_ && source.width() == width_, "a source of another format or width");
  CHECK(first_row % kPanelRows == 0 && first_row + source.rows() <= rows_,
        "{} rows at {} do not fit {}", source.rows(), first_row, rows_);
  bool is_finite = true;
  visit_format(format_, [&]<typename Block>(std::type_identity<Block>) {
    for (int64_t i = 0; i < panels_of(source.rows()); ++i) {
      std::byte* out = storage_ + (first_row / kPanelRows + i) * panel_bytes_;
      is_finite &= pack_panel<Block>(source, i * kPanelRows, out);
    }
  });
  return is_finite;
}

PackedMatrix PackedMatrix::part(int64_t first_row, int64_t rows) const {
  CHECK(first_row % kPanelRows == 0 && first_row + rows <= rows_, "{} rows at {} of {}", rows,
        first_row, rows_);
  PackedMatrix part = *this;
  part.rows_ = rows;
  part.storage_ += first_row / kPanelRows * panel_bytes_;
  return part;
}

void PackedMatrix::unpack(int64_t row, int64_t first, int64_t count, float* out) const {
  CHECK(row >= 0 && row < rows_, "row {} of {}", row, rows_);
  visit_format(format_, [&]<typename Block>(std::type_identity<Block>) {
    using Panel = typename PanelOf<Block>::Type;
    const auto* panels = reinterpret_cast<const Panel*>(panel(row / kPanelRows));
    panels += first / Block::kElements;
    for (int64_t b = 0; b < count / Block::kElements; ++b) {
      get(panels[b], static_cast<int>(row % kPanelRows), out + b * Block::kElements);
    }
  });
}

}  // namespace millrace
