#include "files/checkpoint.h"

#include <algorithm>

#include "base/log.h"
#include "files/file_kind.h"
#include "files/gguf_reader.h"

namespace millrace {
namespace {

absl::Status about(const std::string& path, const absl::Status& status) {
  return make_error(status.code(), "'{}': {}", path, message_of(status));
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::open(const std::string& path) {
  ASSIGN_OR_RETURN(FileBytes file, FileBytes::open(path));
  absl::StatusOr<Checkpoint> checkpoint = parse(std::move(file));
  if (!checkpoint.ok()) return about(path, checkpoint.status());
  return checkpoint;
}

absl::StatusOr<Checkpoint> Checkpoint::parse(std::span<const std::byte> bytes) {
  return parse(FileBytes(bytes));
}

absl::StatusOr<Checkpoint> Checkpoint::parse(FileBytes file) {
  if (file.size() == 0) return invalid_argument("the file is empty");
  std::vector<std::byte> start(std::min<uint64_t>(file.size(), kFileKindBytes));
  RETURN_IF_ERROR(file.read(0, start));
  RETURN_IF_ERROR(check_is_gguf(start));
  Checkpoint checkpoint(std::move(file));
  RETURN_IF_ERROR(GgufReader(checkpoint).read());
  return checkpoint;
}

const NamedTensor* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

absl::Status Checkpoint::read(const NamedTensor& tensor, int64_t offset,
                              std::span<std::byte> out) const {
  const absl::Status status = file_.read(tensor.file_offset + static_cast<uint64_t>(offset), out);
  if (status.ok()) return status;
  return make_error(status.code(), "tensor '{}': {}", escape_for_log(tensor.name),
                    message_of(status));
}

absl::StatusOr<std::vector<std::byte>> Checkpoint::read(const NamedTensor& tensor) const {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.layout.bytes()));
  RETURN_IF_ERROR(read(tensor, 0, bytes));
  return bytes;
}

}  // namespace millrace
