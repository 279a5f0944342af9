#include "files/file_head.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr uint64_t kChunkBytes = 1 << 18;

}  // namespace

absl::StatusOr<std::span<const std::byte>> FileHead::take(const FileBytes& file, uint64_t size) {
  if (!file.memory().empty()) {
    const auto taken = file.memory().subspan(position_, size);
    position_ += size;
    return taken;
  }
  if (ahead_.size() < size) {
    const uint64_t bytes = std::min(std::max(size, kChunkBytes), file.size() - position_);
    auto chunk = std::make_unique_for_overwrite<std::byte[]>(bytes);
    RETURN_IF_ERROR(file.read(position_, {chunk.get(), bytes}));
    ahead_ = {chunk.get(), bytes};
    chunks_.push_back(std::move(chunk));
  }
  const auto taken = ahead_.first(size);
  ahead_ = ahead_.subspan(size);
  position_ += size;
  return taken;
}

}  // namespace millrace
