#include "files/pack_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <string_view>
#include <sys/stat.h>
#include <type_traits>
#include <unistd.h>

#include "base/check.h"
#include "base/checksum.h"

namespace millrace {
namespace {

constexpr std::array<char, 8> kMagic = {'M', 'I', 'L', 'L', 'P', 'A', 'C', 'K'};
constexpr uint64_t kVersion = 1;

// The whole of a file's beginning, little endian as all that runs Millrace; the checksums follow.
struct PackHeader {
  std::array<char, 8> magic = kMagic;
  uint64_t version = kVersion;
  uint64_t head = 0;
  int64_t model_bytes = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  uint64_t layout = 0;
  int64_t packed_bytes = 0;
  uint64_t table = 0;   // checksum of the checksums
  uint64_t header = 0;  // checksum of all of this before it
};
static_assert(std::is_trivially_copyable_v<PackHeader> && sizeof(PackHeader) == 80);

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

PackHeader header_of(const PackKey& key, const std::vector<uint64_t>& checksums) {
  PackHeader header = {.head = key.head,
                       .model_bytes = key.model_bytes,
                       .modified_ns = key.stamp.modified_ns,
                       .changed_ns = key.stamp.changed_ns,
                       .layout = key.layout,
                       .packed_bytes = key.packed_bytes,
                       .table = checksum(bytes_of(checksums))};
  header.header =
      checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(PackHeader, header)));
  return header;
}

int64_t chunks_of(int64_t bytes) { return (bytes + kPackChunkBytes - 1) / kPackChunkBytes; }

uint64_t begin_of(int64_t chunks) {
  const int64_t head = static_cast<int64_t>(sizeof(PackHeader)) + chunks * 8;
  return static_cast<uint64_t>((head + kPackAlignment - 1) / kPackAlignment * kPackAlignment);
}

template <typename Bytes>
Bytes chunk_of(Bytes bytes, int64_t i) {
  const auto at = static_cast<size_t>(i * kPackChunkBytes);
  return bytes.subspan(at, std::min(static_cast<size_t>(kPackChunkBytes), bytes.size() - at));
}

absl::Status unusable(std::string_view why) {
  return make_error(absl::StatusCode::kFailedPrecondition, "{}", why);
}

// What a header that is not the expected one tells of its file.
absl::Status why_unusable(const PackHeader& found, const PackHeader& expected) {
  if (found.magic != kMagic) return unusable("it is not a pack file");
  if (found.version != kVersion) return unusable("another version of Millrace wrote it");
  if (found.header != expected.header) {
    PackHeader copy = found;
    const auto summed = std::as_bytes(std::span(&copy, 1)).first(offsetof(PackHeader, header));
    if (checksum(summed) != found.header) return unusable("its header is damaged");
    if (found.layout != expected.layout) return unusable("its weights are packed in another way");
    return unusable("the model file is another one, or has changed since");
  }
  return unusable("its header is damaged");
}

// A file that has no name until it is complete, so that nothing is left of one that never was;
// where the system has no such files, one with a name of its own.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  ~NewFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  absl::Status create() {
    const size_t slash = path_.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    descriptor_ = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kMode);
    if (descriptor_ >= 0) return absl::OkStatus();
    const std::string name = other_name();
    descriptor_ = ::open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, kMode);
    if (descriptor_ < 0) return refused("create");
    temporary_ = name;
    return absl::OkStatus();
  }

  absl::Status write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return refused("write");
      bytes = bytes.subspan(static_cast<size_t>(done));
    }
    return absl::OkStatus();
  }

  // By way of another name: a link never replaces a file.
  absl::Status move_into_place() {
    if (temporary_.empty()) {
      const std::string self = fmt::format("/proc/self/fd/{}", descriptor_);
      const std::string name = other_name();
      if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        return refused("create");
      }
      temporary_ = name;
    }
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) return refused("replace");
    temporary_.clear();
    return absl::OkStatus();
  }

 private:
  static constexpr mode_t kMode = 0600;  // as private as the model file may be

  std::string other_name() const {
    std::random_device random;
    return fmt::format("{}.{:08x}{:08x}", path_, random(), random());
  }

  absl::Status refused(std::string_view what) const {
    return make_error(absl::StatusCode::kUnavailable, "cannot {} '{}': {}", what, path_,
                      std::strerror(errno));
  }

  std::string path_;
  std::string temporary_;  // empty: without a name
  int descriptor_ = -1;
};

}  // namespace

absl::StatusOr<PackFile> PackFile::open(const std::string& path, const PackKey& key) {
  absl::StatusOr<FileBytes> file = FileBytes::open(path);
  if (absl::IsNotFound(file.status())) return file.status();
  if (!file.ok()) return unusable(message_of(file.status()));
  PackFile pack(*std::move(file));
  PackHeader found;
  if (pack.file_.size() < sizeof found) return unusable("it is not a pack file");
  RETURN_IF_ERROR(pack.file_.read(0, std::as_writable_bytes(std::span(&found, 1))));
  const PackHeader expected = header_of(key, {});
  PackHeader comparable = found;  // but for the checksums, which only the file knows
  comparable.table = expected.table;
  comparable.header = expected.header;
  if (std::memcmp(&comparable, &expected, sizeof expected) != 0) {
    return why_unusable(found, expected);
  }
  const int64_t chunks = chunks_of(key.packed_bytes);
  pack.begin_ = begin_of(chunks);
  if (pack.file_.size() != pack.begin_ + static_cast<uint64_t>(key.packed_bytes)) {
    return unusable(fmt::format("it has {} bytes instead of {}", pack.file_.size(),
                                pack.begin_ + static_cast<uint64_t>(key.packed_bytes)));
  }
  pack.checksums_.resize(static_cast<size_t>(chunks));
  RETURN_IF_ERROR(
      pack.file_.read(sizeof found, std::as_writable_bytes(std::span(pack.checksums_))));
  const PackHeader whole = header_of(key, pack.checksums_);
  if (std::memcmp(&found, &whole, sizeof whole) != 0) return unusable("its header is damaged");
  return pack;
}

absl::Status PackFile::read(int64_t i, std::span<std::byte> out) const {
  const std::span<std::byte> chunk = chunk_of(out, i);
  RETURN_IF_ERROR(file_.read(begin_ + static_cast<uint64_t>(i * kPackChunkBytes), chunk));
  if (checksum(chunk) == checksums_[static_cast<size_t>(i)]) return absl::OkStatus();
  return make_error(absl::StatusCode::kDataLoss, "bytes {} to {} of its weights are damaged",
                    i * kPackChunkBytes, i * kPackChunkBytes + std::ssize(chunk));
}

absl::Status write_pack(const std::string& path, const PackKey& key,
                        std::span<const std::byte> packed) {
  CHECK(std::ssize(packed) == key.packed_bytes, "{} bytes of {}", packed.size(), key.packed_bytes);
  const int64_t chunks = chunks_of(key.packed_bytes);
  std::vector<uint64_t> checksums;
  for (int64_t i = 0; i < chunks; ++i) checksums.push_back(checksum(chunk_of(packed, i)));
  const PackHeader header = header_of(key, checksums);
  std::vector<std::byte> head(begin_of(chunks));
  std::memcpy(head.data(), &header, sizeof header);
  std::ranges::copy(bytes_of(checksums), head.data() + sizeof header);
  NewFile file(path);
  RETURN_IF_ERROR(file.create());
  RETURN_IF_ERROR(file.write(head));
  RETURN_IF_ERROR(file.write(packed));
  return file.move_into_place();
}

}  // namespace millrace
