#include "files/checkpoint.h"

#include <utility>

#include "files/gguf_reader.h"

namespace millrace {

absl::StatusOr<Checkpoint> Checkpoint::open(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  absl::StatusOr<Checkpoint> checkpoint = parse(file.bytes());
  if (!checkpoint.ok()) {
    return make_error(checkpoint.status().code(), "'{}': {}", path,
                      message_of(checkpoint.status()));
  }
  checkpoint->file_ = std::move(file);
  return checkpoint;
}

absl::StatusOr<Checkpoint> Checkpoint::parse(std::span<const std::byte> bytes) {
  Checkpoint checkpoint;
  RETURN_IF_ERROR(GgufReader(bytes, checkpoint).read());
  return checkpoint;
}

const NamedTensor* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void Checkpoint::drop(const NamedTensor& tensor) const {
  if (file_) file_->drop(tensor.file_offset, static_cast<size_t>(tensor.view.bytes()));
}

}  // namespace millrace
