#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/status.h"

namespace millrace {

// A whole file mapped read-only and private. Movable; the bytes live as long as the object.
class MappedFile {
 public:
  // Errors: NOT_FOUND or INVALID_ARGUMENT (a folder, unreadable), with the path and the system's
  // reason.
  static absl::StatusOr<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // The pages wholly inside [offset, offset + size) are not needed again: gives their memory back.
  void drop(size_t offset, size_t size) const;

 private:
  MappedFile() = default;

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace millrace
