#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
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
// multiple of kDirectAlignment on the bytes. Nothing in it is believed: what the header says must
// be what is expected, and each chunk's bytes what was written. Any number of threads may read.
class PackFile {
 public:
  // NOT_FOUND: there is no file. FAILED_PRECONDITION: it cannot be used, and why.
  static absl::StatusOr<PackFile> open(const std::string& path, const PackKey& key);

  int64_t bytes() const { return bytes_; }  // of what is packed
  // Fills `out` with the packed bytes from `begin` on. begin: a multiple of kPackChunkBytes; the
  // end: another one, or that of all. DATA_LOSS: it is damaged.
  absl::Status read(int64_t begin, std::span<std::byte> out) const;
  // As FileBytes::bypass_page_cache, for what read() gets.
  bool bypass_page_cache() { return file_.bypass_page_cache(); }

 private:
  explicit PackFile(FileBytes file) : file_(std::move(file)) {}

  FileBytes file_;
  std::vector<uint64_t> checksums_;
  uint64_t begin_ = 0;  // of the packed bytes
  int64_t bytes_ = 0;
};

// A pack on its way into a file. Until finish() there is nothing at the path but what was there
// before, then all of it, whatever happens meanwhile and whoever else writes it. Errors say what
// the system refused.
class PackWriter {
 public:
  static absl::StatusOr<PackWriter> create(const std::string& path, const PackKey& key);
  PackWriter(PackWriter&&) noexcept;
  PackWriter& operator=(PackWriter&&) noexcept;
  ~PackWriter();

  // The next of the packed bytes: whole chunks, or all that are left.
  absl::Status add(std::span<const std::byte> bytes);
  int64_t bytes_added() const { return added_; }
  // After all of them.
  absl::Status finish();

 private:
  class NewFile;
  PackWriter(std::unique_ptr<NewFile> file, const PackKey& key);

  std::unique_ptr<NewFile> file_;
  PackKey key_;
  std::vector<uint64_t> checksums_;
  int64_t added_ = 0;
};

// The least that can be read and checked by itself: little enough for one row of a matrix, enough
// for a checksum to cost nothing.
inline constexpr int64_t kPackChunkBytes = int64_t{64} << 10;

}  // namespace millrace
