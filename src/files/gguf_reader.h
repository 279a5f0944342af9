#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <absl/container/flat_hash_set.h>

#include "base/metadata.h"
#include "base/status.h"
#include "files/checkpoint.h"

namespace millrace {

// A GGUF file, with the other parts of the model where it says that it is one of several: they lie
// beside `path` and are named as llama-gguf-split names them. INVALID_ARGUMENT names a part that is
// another's. An empty path: the file is whole.
absl::StatusOr<Checkpoint> open_gguf(const std::string& path, FileBytes file);

// Reads GGUF versions 2 and 3, little endian. Nothing in the bytes is believed before it is checked
// against their number, and what is allocated is at most proportional to it. A key, name or tensor
// that appears twice is refused.
class GgufReader {
 public:
  // `into` holds one file whose kind is known (files/file_kind.h), and is empty but for it.
  explicit GgufReader(CheckpointContents& into);

  absl::Status read();

 private:
  absl::Status read_header();
  absl::Status read_metadata();
  absl::Status read_alignment();
  absl::Status read_tensors();
  absl::Status read_tensor();
  absl::Status check_shape(const TensorLayout& layout, uint64_t from) const;
  absl::Status locate_tensors();
  // Turns `offset`, counted from `begin`, into one within the file.
  absl::Status locate(std::string_view name, uint64_t begin, uint64_t bytes, uint64_t& offset);
  absl::Status check_overlaps() const;

  absl::StatusOr<MetaValue> read_value();
  absl::StatusOr<MetaArray> read_array();
  absl::StatusOr<MetaType> read_type();
  absl::StatusOr<std::string_view> read_string(uint64_t bytes_max);
  template <typename T>
  absl::StatusOr<T> read_number();
  // A count of things that take at least `bytes_each` of what is left.
  absl::StatusOr<uint64_t> read_count(std::string_view things, uint64_t bytes_each,
                                      uint64_t count_max);
  absl::StatusOr<std::span<const std::byte>> take(uint64_t size);  // which are left

  template <typename... Args>
  absl::Status fail(uint64_t at, fmt::format_string<Args...> format, Args&&... args) const;
  uint64_t at() const { return file_.head.position(); }
  uint64_t left() const { return size_ - at(); }

  CheckpointContents& into_;
  CheckpointFile& file_;
  uint64_t size_;        // of the file
  std::string subject_;  // what is being read, for errors
  uint64_t entries_ = 0;
  uint64_t tensors_ = 0;
  uint64_t alignment_ = 0;
  absl::flat_hash_set<std::string_view> names_;
};

}  // namespace millrace
