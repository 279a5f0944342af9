#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"

namespace millrace {

// When a file's bytes, and anything about it, last changed: nanoseconds since 1970. The second one
// cannot be set back by a program.
struct FileStamp {
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;

  bool operator==(const FileStamp&) const = default;
};

// The bytes of a regular file, or of memory that outlives this object. A file is read piece by
// piece and never mapped: one that shrinks meanwhile is an error instead of a signal. Movable; any
// number of threads may read.
class FileBytes {
 public:
  // Errors: NOT_FOUND or INVALID_ARGUMENT (a folder, unreadable), with the path and the system's
  // reason.
  static absl::StatusOr<FileBytes> open(const std::string& path);
  explicit FileBytes(std::span<const std::byte> memory) : memory_(memory), size_(memory.size()) {}

  FileBytes(FileBytes&& other) noexcept { *this = std::move(other); }
  FileBytes& operator=(FileBytes&& other) noexcept;
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  ~FileBytes();

  uint64_t size() const { return size_; }  // when it was opened
  // Empty where the bytes are a file's.
  std::span<const std::byte> memory() const { return memory_; }

  // As the file is now. INVALID_ARGUMENT for memory, which has none.
  absl::StatusOr<FileStamp> stamp() const;

  // From here on reads leave nothing in the page cache. True: they go past it; false: the file
  // system cannot do that, and what a read brought into it is dropped again. Offsets and addresses
  // that read() gets are then multiples of kDirectAlignment, sizes too but at the file's end, where
  // the memory has room for the rest. Not for memory.
  bool bypass_page_cache();

  // Fills `out` from `offset` on; [offset, offset + out.size()) lies within size(). DATA_LOSS: the
  // file has become shorter, or cannot be read.
  absl::Status read(uint64_t offset, std::span<std::byte> out) const;

 private:
  enum class Caching : uint8_t { kKept, kDropped, kBypassed };

  FileBytes() = default;

  std::span<const std::byte> memory_;
  uint64_t size_ = 0;
  int descriptor_ = -1;
  Caching caching_ = Caching::kKept;
};

inline constexpr uint64_t kDirectAlignment = 4096;  // a page, and more than any disk's sector

}  // namespace millrace
