#include "chat/jinja/arena.h"

#include <algorithm>
#include <cstring>

namespace millrace::jinja {

namespace {
constexpr size_t kChunkBytesMax = 256 << 10;
}  // namespace

void* Arena::allocate(size_t size, size_t alignment) {
  void* place = next_;
  size_t left = static_cast<size_t>(end_ - next_);
  if (next_ == nullptr || std::align(alignment, size, place, left) == nullptr) {
    const size_t bytes = std::max(chunk_bytes_, size);
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    chunk_bytes_ = std::min(chunk_bytes_ * 2, kChunkBytesMax);
    place = chunks_.back().get();
    end_ = chunks_.back().get() + bytes;
  }
  next_ = static_cast<std::byte*>(place) + size;
  used_bytes_ += static_cast<int64_t>(size);
  return place;
}

std::string_view Arena::copy(std::string_view bytes) {
  if (bytes.empty()) return {};
  char* place = static_cast<char*>(allocate(bytes.size(), 1));
  std::memcpy(place, bytes.data(), bytes.size());
  return {place, bytes.size()};
}

}  // namespace millrace::jinja
