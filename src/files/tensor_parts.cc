#include "files/tensor_parts.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

// Shorter runs are not worth a call to the system each.
constexpr int64_t kRunBytesMin = 128;
// An expert's matrix is read as a whole where only scattered bytes of it are wanted; some for each
// of the lanes that read different experts.
constexpr int64_t kPiecesBytesMax = int64_t{512} << 20;

// The place of a run, counted from the part's offset.
int64_t place_of(const TensorPart& part, int64_t run) {
  int64_t place = 0;
  for (size_t i = part.axes.size(); i-- > 0;) {
    place += run % part.axes[i].count * part.axes[i].stride;
    run /= part.axes[i].count;
  }
  return place;
}

// So many of the slowest axes count pieces that do not overlap.
size_t axes_of_pieces(const TensorPart& part) {
  TensorPart rest = part;
  size_t axes = 0;
  while (!rest.axes.empty()) {
    const int64_t stride = rest.axes.front().stride;
    rest.axes.erase(rest.axes.begin());
    if (stride < rest.extent_bytes()) break;
    ++axes;
  }
  return axes;
}

absl::Status read_scattered(const TensorPart& part, const FileBytes& file, ScatteredPieces& pieces,
                            int64_t first, std::span<std::byte> out) {
  const int64_t run_bytes = row_bytes(part.dtype, part.run);
  const size_t outer = std::min(axes_of_pieces(part), part.axes.size() - 1);
  TensorPart inner = part;
  inner.axes.erase(inner.axes.begin(), inner.axes.begin() + static_cast<std::ptrdiff_t>(outer));
  const int64_t runs_inside = inner.elements() / inner.run;
  int64_t at = row_bytes(part.dtype, first);  // in the part, bytes
  while (!out.empty()) {
    const int64_t run = at / run_bytes;
    const int64_t inside = run % runs_inside;
    const uint64_t begin = part.offset + static_cast<uint64_t>(place_of(part, run - inside));
    ASSIGN_OR_RETURN(const ScatteredPieces::Piece piece,
                     pieces.get(file, begin, inner.extent_bytes()));
    const int64_t end = (run - inside + runs_inside) * run_bytes;
    while (!out.empty() && at < end) {
      const int64_t within = at % run_bytes;
      const auto size = std::min(out.size(), static_cast<size_t>(run_bytes - within));
      const int64_t place = place_of(inner, at / run_bytes % runs_inside) + within;
      std::memcpy(out.data(), piece->data() + place, size);
      out = out.subspan(size);
      at += static_cast<int64_t>(size);
    }
  }
  return absl::OkStatus();
}

constexpr int64_t kElementBytes = 16;  // of a block
constexpr int64_t kBlockBytes = 1 + kElementBytes;

unsigned element_of(const std::byte* elements, size_t i) {
  return std::to_integer<unsigned>(elements[i / 2] >> (i % 2 * 4)) & 15U;
}

// Element i and element i + 16 in one byte.
void join(std::byte scale, const std::byte* elements, std::byte* block) {
  block[0] = scale;
  for (size_t i = 0; i < kElementBytes; ++i) {
    block[1 + i] = std::byte(element_of(elements, i) | element_of(elements, i + 16) << 4);
  }
}

}  // namespace

int64_t TensorPart::elements() const {
  int64_t product = run;
  for (const Axis& axis : axes) product *= axis.count;
  return product;
}

int64_t TensorPart::extent_bytes() const {
  int64_t extent = row_bytes(dtype, run);
  for (const Axis& axis : axes) extent += (axis.count - 1) * axis.stride;
  return extent;
}

absl::StatusOr<ScatteredPieces::Piece> ScatteredPieces::get(const FileBytes& file, uint64_t offset,
                                                            int64_t size) {
  const std::lock_guard lock(mutex_);
  for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
    if (kept->file == &file && kept->offset == offset && std::ssize(*kept->piece) == size) {
      kept_.splice(kept_.begin(), kept_, kept);
      return kept->piece;
    }
  }
  auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(size));
  RETURN_IF_ERROR(file.read(offset, *bytes));
  kept_.push_front({&file, offset, std::move(bytes)});
  bytes_ += size;
  while (bytes_ > kPiecesBytesMax && kept_.size() > 1) {
    bytes_ -= std::ssize(*kept_.back().piece);
    kept_.pop_back();
  }
  return kept_.front().piece;
}

absl::Status read_part(const TensorPart& part, const FileBytes& file, ScatteredPieces& pieces,
                       int64_t first, std::span<std::byte> out) {
  const int64_t run_bytes = row_bytes(part.dtype, part.run);
  if (!part.axes.empty() && run_bytes < kRunBytesMin) {
    return read_scattered(part, file, pieces, first, out);
  }
  int64_t at = row_bytes(part.dtype, first);
  while (!out.empty()) {
    const int64_t within = at % run_bytes;
    const auto size = std::min(out.size(), static_cast<size_t>(run_bytes - within));
    const int64_t place = place_of(part, at / run_bytes) + within;
    RETURN_IF_ERROR(file.read(part.offset + static_cast<uint64_t>(place), out.first(size)));
    out = out.subspan(size);
    at += static_cast<int64_t>(size);
  }
  return absl::OkStatus();
}

absl::Status read_split_mxfp4(const SplitMxfp4& split, const FileBytes& elements,
                              const FileBytes& scales, int64_t first, std::span<std::byte> out) {
  CHECK(std::ssize(out) % kBlockBytes == 0, "{} bytes of MXFP4", out.size());
  std::vector<std::byte> row_elements, row_scales;
  while (!out.empty()) {
    const int64_t in_row = first % split.row_blocks;
    const int64_t blocks = std::min(std::ssize(out) / kBlockBytes, split.row_blocks - in_row);
    const int64_t at = first / split.row_blocks * split.row_step * split.row_blocks + in_row;
    row_elements.resize(static_cast<size_t>(blocks * kElementBytes));
    row_scales.resize(static_cast<size_t>(blocks));
    RETURN_IF_ERROR(elements.read(split.elements_offset + static_cast<uint64_t>(at * kElementBytes),
                                  row_elements));
    RETURN_IF_ERROR(scales.read(split.scales_offset + static_cast<uint64_t>(at), row_scales));
    for (int64_t i = 0; i < blocks; ++i) {
      join(row_scales[static_cast<size_t>(i)], row_elements.data() + i * kElementBytes,
           out.data() + i * kBlockBytes);
    }
    out = out.subspan(static_cast<size_t>(blocks * kBlockBytes));
    first += blocks;
  }
  return absl::OkStatus();
}

}  // namespace millrace
