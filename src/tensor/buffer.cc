#include "tensor/buffer.h"

#include <sys/mman.h>

namespace millrace {

absl::StatusOr<Buffer> Buffer::allocate(int64_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  void* data = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return resource_exhausted("cannot allocate {} bytes of memory", bytes);
  ::madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // advice: 4 KiB pages work too
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.size_ = bytes;
  return buffer;
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
}

}  // namespace millrace
