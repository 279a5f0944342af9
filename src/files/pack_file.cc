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
constexpr uint64_t kVersion = 2;

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
  return (static_cast<uint64_t>(head) + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
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

}  // namespace

// A file that has no name until it is complete, so that nothing is left of one that never was;
// where the system has no such files, one with a name of its own.
class PackWriter::NewFile {
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

  absl::Status write(uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t done =
          ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return refused("write");
      bytes = bytes.subspan(static_cast<size_t>(done));
      offset += static_cast<uint64_t>(done);
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
  pack.bytes_ = key.packed_bytes;
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

absl::Status PackFile::read(int64_t begin, std::span<std::byte> out) const {
  const int64_t end = begin + std::ssize(out);
  CHECK(begin % kPackChunkBytes == 0 && (end % kPackChunkBytes == 0 || end == bytes_),
        "bytes {} to {} are not whole chunks", begin, end);
  RETURN_IF_ERROR(file_.read(begin_ + static_cast<uint64_t>(begin), out));
  for (int64_t i = 0; i < chunks_of(std::ssize(out)); ++i) {
    const std::span<std::byte> chunk = chunk_of(out, i);
    const int64_t number = begin / kPackChunkBytes + i;
    if (checksum(chunk) == checksums_[static_cast<size_t>(number)]) continue;
    return make_error(absl::StatusCode::kDataLoss, "bytes {} to {} of its weights are damaged",
                      number * kPackChunkBytes, number * kPackChunkBytes + std::ssize(chunk));
  }
  return absl::OkStatus();
}

PackWriter::PackWriter(std::unique_ptr<NewFile> file, const PackKey& key)
    : file_(std::move(file)), key_(key) {}
PackWriter::PackWriter(PackWriter&&) noexcept = default;
PackWriter& PackWriter::operator=(PackWriter&&) noexcept = default;
PackWriter::~PackWriter() = default;

absl::StatusOr<PackWriter> PackWriter::create(const std::string& path, const PackKey& key) {
  auto file = std::make_unique<NewFile>(path);
  RETURN_IF_ERROR(file->create());
  return PackWriter(std::move(file), key);
}

absl::Status PackWriter::add(std::span<const std::byte> bytes) {
  const int64_t end = added_ + std::ssize(bytes);
  CHECK(added_ % kPackChunkBytes == 0 && end <= key_.packed_bytes, "bytes {} to {} of {}", added_,
        end, key_.packed_bytes);
  for (int64_t i = 0; i < chunks_of(std::ssize(bytes)); ++i) {
    checksums_.push_back(checksum(chunk_of(bytes, i)));
  }
  const uint64_t begin = begin_of(chunks_of(key_.packed_bytes));
  RETURN_IF_ERROR(file_->write(begin + static_cast<uint64_t>(added_), bytes));
  added_ = end;
  return absl::OkStatus();
}

absl::Status PackWriter::finish() {
  CHECK(added_ == key_.packed_bytes, "{} bytes of {}", added_, key_.packed_bytes);
  const PackHeader header = header_of(key_, checksums_);
  std::vector<std::byte> head(begin_of(chunks_of(key_.packed_bytes)));
  std::memcpy(head.data(), &header, sizeof header);
  std::ranges::copy(bytes_of(checksums_), head.data() + sizeof header);
  RETURN_IF_ERROR(file_->write(0, head));
  return file_->move_into_place();
}

}  // namespace millrace
