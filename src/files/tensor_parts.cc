#include "files/tensor_parts.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace millrace {
namespace {

// Shorter runs are not worth a call to the system each.
constexpr int64_t kRunBytesMin = 128;
// An expert's matrix is read as a whole where only scattered bytes of it are wanted; some for each
// of the lanes that read different experts.
constexpr int64_t kPiecesBytesMax = int64_t{512} << 20;

// Of a block: OCP Microscaling Formats 1.0.
constexpr int64_t kMxfp4Elements = 32;
constexpr int64_t kMxfp4ElementBytes = 16;
constexpr int64_t kMxfp4BlockBytes = 17;

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

// A block as GGUF has it: the scale, then element i in the low and i + 16 in the high half of byte
// i.
void join_block(std::byte scale, const std::byte* pairs, std::byte* block) {
  block[0] = scale;
  for (size_t i = 0; i < 16; ++i) {
    const auto element = [&](size_t k) {
      return k % 2 == 0 ? pairs[k / 2] & std::byte{15} : pairs[k / 2] >> 4;
    };
    block[1 + i] = element(i) | element(i + 16) << 4;
  }
}

// first: of a block.
absl::Status read_with_scales(const TensorPart& part, const FileBytes& file, int64_t first,
                              std::span<std::byte> out) {
  const int64_t run_blocks = part.run / kMxfp4Elements;
  std::vector<std::byte> pairs, scales;
  for (int64_t block = first / kMxfp4Elements; !out.empty();) {
    const int64_t within = block % run_blocks;
    const auto count =
        std::min<size_t>(out.size() / kMxfp4BlockBytes, static_cast<size_t>(run_blocks - within));
    const auto place = static_cast<uint64_t>(place_of(part, block / run_blocks)) +
                       static_cast<uint64_t>(within * kMxfp4ElementBytes);
    pairs.resize(count * kMxfp4ElementBytes);
    scales.resize(count);
    RETURN_IF_ERROR(file.read(part.offset + place, pairs));
    RETURN_IF_ERROR(file.read(part.scales + place / kMxfp4ElementBytes, scales));
    for (size_t i = 0; i < count; ++i) {
      join_block(scales[i], pairs.data() + i * kMxfp4ElementBytes,
                 out.data() + i * kMxfp4BlockBytes);
    }
    out = out.subspan(count * kMxfp4BlockBytes);
    block += static_cast<int64_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t TensorPart::elements() const {
  int64_t product = run;
  for (const Axis& axis : axes) product *= axis.count;
  return product;
}

int64_t TensorPart::stored_bytes(int64_t count) const {
  return scales == 0 ? row_bytes(dtype, count) : count / kMxfp4Elements * kMxfp4ElementBytes;
}

int64_t TensorPart::extent_bytes() const {
  int64_t extent = stored_bytes(run);
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
  if (part.scales != 0) return read_with_scales(part, file, first, out);
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

}  // namespace millrace
