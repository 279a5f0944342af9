#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/system/file_bytes.h"
#include "tensor/dtype.h"

namespace millrace {

// Some of a tensor's elements, in their order, as they lie in a file: runs of neighbours whose
// places axes count, the slowest first.
struct TensorPart {
  struct Axis {
    int64_t count = 1;
    int64_t stride = 0;  // bytes
  };

  int32_t file = 0;
  uint64_t offset = 0;  // of the first element
  DType dtype = DType::kF32;
  int64_t run = 0;  // elements: whole blocks
  std::vector<Axis> axes = {};
  // MXFP4 whose scales lie apart, a byte each from here on: what counts above are the 16 bytes of
  // each block's elements, neighbours in a byte, the first in its low half. 0: whole blocks.
  uint64_t scales = 0;
  float factor = 1;  // of each element, where the tensor is F32

  int64_t elements() const;
  // Bytes of `count` elements as they lie in the file, without scales that lie apart.
  int64_t stored_bytes(int64_t count) const;
  // From the first byte to the last, in the file.
  int64_t extent_bytes() const;
};

// Pieces of files of which only scattered bytes are wanted, kept for the next who wants others of
// them: the most recent ones, within a bound. Safe for any thread.
class ScatteredPieces {
 public:
  using Piece = std::shared_ptr<const std::vector<std::byte>>;
  // DATA_LOSS: as FileBytes::read.
  absl::StatusOr<Piece> get(const FileBytes& file, uint64_t offset, int64_t size);

 private:
  struct Kept {
    const FileBytes* file;
    uint64_t offset;
    Piece piece;
  };
  std::mutex mutex_;
  std::list<Kept> kept_;  // the most recent first
  int64_t bytes_ = 0;     // of all
};

// Reads elements [first, first + out.size() / size of an element) of what the part holds, as they
// are stored. In small runs that lie scattered, through `pieces`.
absl::Status read_part(const TensorPart& part, const FileBytes& file, ScatteredPieces& pieces,
                       int64_t first, std::span<std::byte> out);

}  // namespace millrace
