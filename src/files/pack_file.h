#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/system/file_bytes.h"

namespace millrace {

// What a pack file is of: one state of one model file, packed in one way.
struct PackKey {
  uint64_t head = 0;        // checksum of the model file's metadata and list of tensors
  int64_t model_bytes = 0;  // size of the model file
  FileStamp stamp;          // of the model file
  uint64_t layout = 0;      // checksum of how and in which order matrices are packed
  int64_t packed_bytes = 0;

  bool operator==(const PackKey&) const = default;
};

// Packed matrices in a file, as they lie in memory: a header, a checksum for each chunk, and from a
// multiple of kPackAlignment on the bytes. Nothing in it is believed: what the header says must be
// what is expected, and each chunk's bytes what was written. Any number of threads may read.
class PackFile {
 public:
  // NOT_FOUND: there is no file. FAILED_PRECONDITION: it cannot be used, and why.
  static absl::StatusOr<PackFile> open(const std::string& path, const PackKey& key);

  int64_t chunks() const { return static_cast<int64_t>(checksums_.size()); }
  // Fills `out`, all packed_bytes of memory, with chunk i at its place. DATA_LOSS: it is damaged.
  absl::Status read(int64_t i, std::span<std::byte> out) const;

 private:
  explicit PackFile(FileBytes file) : file_(std::move(file)) {}

  FileBytes file_;
  std::vector<uint64_t> checksums_;
  uint64_t begin_ = 0;  // of the packed bytes
};

// Leaves at `path` the old file or the whole new one, whatever happens meanwhile and whoever else
// writes it. The error says what the system refused.
absl::Status write_pack(const std::string& path, const PackKey& key,
                        std::span<const std::byte> packed);

// A chunk is read, checked and put in its place by one thread: large enough for a disk, and
// a few huge pages, so that threads which share the work do not share pages.
inline constexpr int64_t kPackChunkBytes = int64_t{4} << 20;
inline constexpr int64_t kPackAlignment = 4096;  // a page, and more than any disk's sector

}  // namespace millrace
