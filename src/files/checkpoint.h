#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metadata.h"
#include "base/status.h"
#include "base/system/file_bytes.h"
#include "files/file_head.h"
#include "tensor/view.h"

namespace millrace {

struct NamedTensor {
  std::string name;
  TensorLayout layout;
  uint64_t file_offset = 0;
};

// A tensor whose element type Millrace does not know: listed by inspect, refused when it is needed.
struct UnknownTensor {
  std::string name;
  uint32_t gguf_type = 0;
  int32_t rank = 0;
  std::array<int64_t, 4> shape = {1, 1, 1, 1};  // as in TensorLayout
  uint64_t file_offset = 0;
};

// A model file whatever its format: metadata and named tensors, all bounds proven against the
// file's size. Movable; any number of threads may read tensors.
class Checkpoint {
 public:
  // Opens by content. INVALID_ARGUMENT names the key or tensor and the byte offset at fault, or
  // says what else the file is.
  static absl::StatusOr<Checkpoint> open(const std::string& path);
  // The same for the bytes of a file, which outlive the checkpoint.
  static absl::StatusOr<Checkpoint> parse(std::span<const std::byte> bytes);
  static absl::StatusOr<Checkpoint> parse(FileBytes file);

  std::string_view format() const { return format_; }  // "GGUF v3"
  const Metadata& metadata() const { return metadata_; }
  std::span<const NamedTensor> tensors() const { return tensors_; }  // file order
  std::span<const UnknownTensor> unknown_tensors() const { return unknown_; }
  const NamedTensor* find(std::string_view name) const;
  const FileBytes& file() const { return file_; }
  // Everything before the tensors' data: metadata, and where tensors lie.
  uint64_t head_bytes() const { return head_.position(); }
  int64_t file_bytes() const { return static_cast<int64_t>(file_.size()); }

  // Fills `out` from byte `offset` of the tensor on. DATA_LOSS, naming the tensor: the file has
  // become shorter since it was opened, or cannot be read.
  absl::Status read(const NamedTensor& tensor, int64_t offset, std::span<std::byte> out) const;
  // All of it.
  absl::StatusOr<std::vector<std::byte>> read(const NamedTensor& tensor) const;

 private:
  friend class GgufReader;
  explicit Checkpoint(FileBytes file) : file_(std::move(file)) {}

  FileBytes file_;
  FileHead head_;
  std::string format_;
  Metadata metadata_;
  std::vector<NamedTensor> tensors_;
  std::vector<UnknownTensor> unknown_;
  StringMap<size_t> index_;
};

}  // namespace millrace
