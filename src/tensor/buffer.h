#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/status.h"

namespace millrace {

// Zeroed memory of its own, aligned to 64 bytes at least, on huge pages where the system grants
// them; pages are touched only as they are used. Movable.
class Buffer {
 public:
  Buffer() = default;
  // RESOURCE_EXHAUSTED when the system refuses.
  static absl::StatusOr<Buffer> allocate(int64_t bytes);

  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  std::byte* data() const { return data_; }
  int64_t size() const { return size_; }
  template <typename T>
  T* as(int64_t byte_offset = 0) const {
    return reinterpret_cast<T*>(data_ + byte_offset);
  }

 private:
  std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace millrace
