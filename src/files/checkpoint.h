#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metadata.h"
#include "base/status.h"
#include "base/system/file_bytes.h"
#include "files/file_head.h"
#include "files/tensor_parts.h"
#include "tensor/view.h"

namespace millrace {

// A tensor lies in a file as it is, or is made of parts of others, or of numbers that no file has.
struct NamedTensor {
  std::string name;
  TensorLayout layout = {};
  uint64_t file_offset = 0;
  int32_t file = 0;                    // of Checkpoint::files()
  std::vector<TensorPart> parts = {};  // not empty: what it is made of, one after the other
  float added = 0;                     // to each element of those, where the layout is F32
  bool negated_exp = false;            // of each element x of those -e^x, where it is F32
  std::vector<float> values = {};      // not empty: all of it, F32
};

// A tensor whose element type Millrace does not know: listed by inspect, refused when it is needed.
struct UnknownTensor {
  std::string name;
  uint32_t gguf_type = 0;
  int32_t rank = 0;
  std::array<int64_t, 4> shape = {1, 1, 1, 1};  // as in TensorLayout
  uint64_t file_offset = 0;
  int32_t file = 0;
};

struct CheckpointFile {
  FileBytes bytes;
  FileHead head;  // everything before the tensors' data: metadata, and where tensors lie
};

// What readers fill.
struct CheckpointContents {
  std::vector<CheckpointFile> files;
  std::string format;
  Metadata metadata;
  std::vector<NamedTensor> tensors;
  std::vector<UnknownTensor> unknown;
  StringMap<size_t> index;  // of tensors, by name
};

// A model whatever its files: metadata and named tensors, all bounds proven against the files'
// sizes. Copies share the files; any number of threads may read tensors.
class Checkpoint {
 public:
  // Opens a file by content, with the other parts where it is one of several, or the model of a
  // Hugging Face folder. INVALID_ARGUMENT names the key or tensor and the byte offset at fault, or
  // says what else the file is.
  static absl::StatusOr<Checkpoint> open(const std::string& path);
  // The bytes of one whole GGUF file; those in memory outlive the checkpoint.
  static absl::StatusOr<Checkpoint> parse(std::span<const std::byte> bytes);
  static absl::StatusOr<Checkpoint> parse(FileBytes file);
  explicit Checkpoint(CheckpointContents contents);

  std::string_view format() const { return contents_->format; }  // "GGUF v3"
  const Metadata& metadata() const { return contents_->metadata; }
  std::span<const NamedTensor> tensors() const { return contents_->tensors; }  // file order
  std::span<const UnknownTensor> unknown_tensors() const { return contents_->unknown; }
  const NamedTensor* find(std::string_view name) const;
  std::span<const CheckpointFile> files() const { return contents_->files; }
  int64_t file_bytes() const;  // of all files

  // Fills `out`, whole blocks, from byte `offset` of the tensor on, where a block begins.
  // DATA_LOSS, naming the tensor: a file has become shorter since it was opened, or cannot be read.
  absl::Status read(const NamedTensor& tensor, int64_t offset, std::span<std::byte> out) const;
  // All of it.
  absl::StatusOr<std::vector<std::byte>> read(const NamedTensor& tensor) const;

 private:
  absl::Status read_made(const NamedTensor& tensor, int64_t offset, std::span<std::byte> out) const;

  std::shared_ptr<const CheckpointContents> contents_;
  std::shared_ptr<ScatteredPieces> pieces_;
};

}  // namespace millrace
