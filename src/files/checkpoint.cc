#include "files/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/log.h"
#include "files/gguf_reader.h"
#include "files/hub/hub_folder.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

absl::StatusOr<Checkpoint> open_unnamed(const std::string& path) {
  if (std::filesystem::is_directory(path)) return open_hub_folder(path);
  ASSIGN_OR_RETURN(FileBytes file, FileBytes::open(path));
  return open_gguf(path, std::move(file));
}

// in: elements of a part, of a type of 16 or 32 bits; out: as many F32 of the tensor.
void widen(const NamedTensor& tensor, const TensorPart& part, std::span<const std::byte> in,
           std::span<std::byte> out) {
  const DType from = part.dtype;
  const size_t size = static_cast<size_t>(info_of(from).block_bytes);
  for (size_t i = 0; i * sizeof(float) < out.size(); ++i) {
    float value = 0;
    if (from == DType::kF32) {
      std::memcpy(&value, in.data() + i * size, sizeof value);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, in.data() + i * size, sizeof bits);
      value = from == DType::kBF16 ? f32_of_bf16(bits) : f32_of_f16(bits);
    }
    if (tensor.negated_exp) value = static_cast<float>(-std::exp(double{value}));
    value = value * part.factor + tensor.added;
    std::memcpy(out.data() + i * sizeof value, &value, sizeof value);
  }
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::open(const std::string& path) {
  absl::StatusOr<Checkpoint> checkpoint = open_unnamed(path);
  if (checkpoint.ok() || message_of(checkpoint.status()).find(path) != std::string_view::npos) {
    return checkpoint;
  }
  return make_error(checkpoint.status().code(), "'{}': {}", path, message_of(checkpoint.status()));
}

absl::StatusOr<Checkpoint> Checkpoint::parse(std::span<const std::byte> bytes) {
  return parse(FileBytes(bytes));
}

absl::StatusOr<Checkpoint> Checkpoint::parse(FileBytes file) {
  return open_gguf("", std::move(file));
}

Checkpoint::Checkpoint(CheckpointContents contents)
    : contents_(std::make_shared<const CheckpointContents>(std::move(contents))),
      pieces_(std::make_shared<ScatteredPieces>()) {}

const NamedTensor* Checkpoint::find(std::string_view name) const {
  const auto found = contents_->index.find(name);
  return found == contents_->index.end() ? nullptr : &contents_->tensors[found->second];
}

int64_t Checkpoint::file_bytes() const {
  uint64_t bytes = 0;
  for (const CheckpointFile& file : files()) bytes += file.bytes.size();
  return static_cast<int64_t>(bytes);
}

absl::Status Checkpoint::read(const NamedTensor& tensor, int64_t offset,
                              std::span<std::byte> out) const {
  absl::Status status;
  if (!tensor.values.empty()) {
    const auto bytes = std::as_bytes(std::span(tensor.values));
    std::ranges::copy(bytes.subspan(static_cast<size_t>(offset), out.size()), out.begin());
  } else if (tensor.parts.empty()) {
    const FileBytes& file = files()[static_cast<size_t>(tensor.file)].bytes;
    status = file.read(tensor.file_offset + static_cast<uint64_t>(offset), out);
  } else {
    status = read_made(tensor, offset, out);
  }
  if (status.ok()) return status;
  return make_error(status.code(), "tensor '{}': {}", escape_for_log(tensor.name),
                    message_of(status));
}

absl::Status Checkpoint::read_made(const NamedTensor& tensor, int64_t offset,
                                   std::span<std::byte> out) const {
  const DTypeInfo& info = info_of(tensor.layout.dtype);
  CHECK(offset % info.block_bytes == 0 && std::ssize(out) % info.block_bytes == 0,
        "blocks of {} bytes: {} at {}", info.block_bytes, out.size(), offset);
  int64_t at = offset / info.block_bytes * info.block_elements;
  std::vector<std::byte> narrow;
  for (const TensorPart& part : tensor.parts) {
    if (out.empty()) break;
    if (at >= part.elements()) {
      at -= part.elements();
      continue;
    }
    const int64_t left = std::ssize(out) / info.block_bytes * info.block_elements;
    const int64_t count = std::min(left, part.elements() - at);
    const auto mine = out.first(static_cast<size_t>(row_bytes(tensor.layout.dtype, count)));
    const FileBytes& file = files()[static_cast<size_t>(part.file)].bytes;
    const bool is_copied = tensor.added == 0 && part.factor == 1 && !tensor.negated_exp;
    if (part.dtype == tensor.layout.dtype && is_copied) {
      RETURN_IF_ERROR(read_part(part, file, *pieces_, at, mine));
    } else {
      narrow.resize(static_cast<size_t>(row_bytes(part.dtype, count)));
      RETURN_IF_ERROR(read_part(part, file, *pieces_, at, narrow));
      widen(tensor, part, narrow, mine);
    }
    out = out.subspan(mine.size());
    at = 0;
  }
  CHECK(out.empty(), "tensor '{}' has no more parts", tensor.name);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::byte>> Checkpoint::read(const NamedTensor& tensor) const {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.layout.bytes()));
  RETURN_IF_ERROR(read(tensor, 0, bytes));
  return bytes;
}

}  // namespace millrace
