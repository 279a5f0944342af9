#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/system/file_bytes.h"

namespace millrace {

// Reads a file from its beginning and keeps what it has read. Of bytes in memory it makes no copy.
// Movable: the bytes stay where they are.
class FileHead {
 public:
  // The next `size` bytes, which lie within the file. They live as long as this object, or as the
  // memory that the file is.
  absl::StatusOr<std::span<const std::byte>> take(const FileBytes& file, uint64_t size);

  uint64_t position() const { return position_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::span<const std::byte> ahead_;  // read, but not yet taken
  uint64_t position_ = 0;
};

}  // namespace millrace
