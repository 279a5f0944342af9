#include "tensor/buffer.h"

#include <limits>
#include <sys/mman.h>
#include <unistd.h>

#include "tensor/huge_pages.h"

namespace millrace {
namespace {

size_t page_bytes() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

size_t whole_pages(int64_t bytes) {
  return (static_cast<size_t>(bytes) + page_bytes() - 1) / page_bytes() * page_bytes();
}

absl::Status refused(int64_t bytes) {
  return resource_exhausted("cannot allocate {} bytes of memory", bytes);
}

}  // namespace

// The memory begins with a huge page, and a page that cannot be touched lies on either side: no
// neighbour shares its mapping, so that the system's figures for it are its own.
absl::StatusOr<Buffer> Buffer::allocate(int64_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  constexpr auto kAlignment = static_cast<size_t>(kHugePageBytes);
  if (bytes > std::numeric_limits<int64_t>::max() - 4 * kHugePageBytes) return refused(bytes);
  const size_t page = page_bytes();
  const size_t whole = whole_pages(bytes);
  const size_t reserved = whole + kAlignment + 2 * page;
  void* const start =
      ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return refused(bytes);
  auto* const first = static_cast<std::byte*>(start);
  const size_t to_next = kAlignment - reinterpret_cast<uintptr_t>(first) % kAlignment;
  const size_t before = to_next < page ? to_next + kAlignment : to_next;
  std::byte* const data = first + before;
  if (before > page) ::munmap(first, before - page);
  if (const size_t end = before + whole + page; reserved > end) {
    ::munmap(first + end, reserved - end);
  }
  if (::mprotect(data, whole, PROT_READ | PROT_WRITE) != 0) {
    ::munmap(data - page, whole + 2 * page);
    return refused(bytes);
  }
  ::madvise(data, whole, MADV_HUGEPAGE);  // advice: 4 KiB pages work too
  buffer.data_ = data;
  buffer.size_ = bytes;
  return buffer;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  ::munmap(data_ - page_bytes(), whole_pages(size_) + 2 * page_bytes());
}

}  // namespace millrace
