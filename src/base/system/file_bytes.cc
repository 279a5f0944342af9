#include "base/system/file_bytes.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"

namespace millrace {

absl::StatusOr<FileBytes> FileBytes::open(const std::string& path) {
  FileBytes file;
  // O_NONBLOCK: opening a pipe would wait for its writer.
  file.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.descriptor_ < 0) {
    const int error = errno;
    const auto code =
        error == ENOENT ? absl::StatusCode::kNotFound : absl::StatusCode::kInvalidArgument;
    return make_error(code, "cannot open '{}': {}", path, std::strerror(error));
  }
  struct stat status = {};
  if (::fstat(file.descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    return invalid_argument("'{}' is {}", path,
                            S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
  }
  file.size_ = static_cast<uint64_t>(status.st_size);
  return file;
}

FileBytes& FileBytes::operator=(FileBytes&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(size_, other.size_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(caching_, other.caching_);
  return *this;
}

FileBytes::~FileBytes() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::StatusOr<FileStamp> FileBytes::stamp() const {
  if (descriptor_ < 0) return invalid_argument("bytes in memory have no times of change");
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) {
    return internal_error("cannot ask for a file's times: {}", std::strerror(errno));
  }
  constexpr int64_t kSecond = 1'000'000'000;
  return FileStamp{status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec,
                   status.st_ctim.tv_sec * kSecond + status.st_ctim.tv_nsec};
}

bool FileBytes::bypass_page_cache() {
  CHECK(descriptor_ >= 0, "bytes in memory");
  struct alignas(kDirectAlignment) Page {
    std::array<std::byte, kDirectAlignment> bytes;
  };
  const auto trial = std::make_unique<Page>();
  const int flags = ::fcntl(descriptor_, F_GETFL);
  // Some file systems take the flag and then refuse to read.
  if (flags >= 0 && ::fcntl(descriptor_, F_SETFL, flags | O_DIRECT) == 0) {
    if (::pread(descriptor_, trial->bytes.data(), kDirectAlignment, 0) >= 0) {
      caching_ = Caching::kBypassed;
      return true;
    }
    ::fcntl(descriptor_, F_SETFL, flags);
  }
  caching_ = Caching::kDropped;
  return false;
}

absl::Status FileBytes::read(uint64_t offset, std::span<std::byte> out) const {
  CHECK(offset <= size_ && out.size() <= size_ - offset, "{} bytes at {} of {}", out.size(), offset,
        size_);
  if (descriptor_ < 0) {
    std::ranges::copy(memory_.subspan(offset, out.size()), out.begin());
    return absl::OkStatus();
  }
  const uint64_t unit = caching_ == Caching::kBypassed ? kDirectAlignment : 1;
  const uint64_t first = offset;
  while (!out.empty()) {
    const size_t room = (out.size() + unit - 1) / unit * unit;
    const ssize_t got = ::pread(descriptor_, out.data(), room, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return make_error(absl::StatusCode::kDataLoss, "the file cannot be read at byte {}: {}",
                        offset, std::strerror(errno));
    }
    if (got == 0) {
      return make_error(absl::StatusCode::kDataLoss,
                        "the file became shorter while it was read: it ends at or before byte {}, "
                        "and had {} bytes when it was opened",
                        offset, size_);
    }
    const size_t size = std::min(static_cast<size_t>(got), out.size());
    out = out.subspan(size);
    offset += size;
  }
  if (caching_ == Caching::kDropped) {
    ::posix_fadvise(descriptor_, static_cast<off_t>(first), static_cast<off_t>(offset - first),
                    POSIX_FADV_DONTNEED);
  }
  return absl::OkStatus();
}

}  // namespace millrace
