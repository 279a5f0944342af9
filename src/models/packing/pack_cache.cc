#include "models/packing/pack_cache.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/checksum.h"
#include "quant/packed_layout.h"

namespace millrace {
namespace {

absl::Status add_head_checksums(const CheckpointFile& file, std::vector<uint64_t>& sums) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  const uint64_t bytes = file.head.position();
  std::vector<std::byte> piece(std::min(kPieceBytes, bytes));
  for (uint64_t at = 0; at < bytes; at += kPieceBytes) {
    const auto part = std::span(piece).first(std::min(kPieceBytes, bytes - at));
    RETURN_IF_ERROR(file.bytes.read(at, part));
    sums.push_back(checksum(part));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> head_checksum(const Checkpoint& checkpoint) {
  std::vector<uint64_t> sums;
  for (const CheckpointFile& file : checkpoint.files()) {
    RETURN_IF_ERROR(add_head_checksums(file, sums));
  }
  return checksum(std::as_bytes(std::span(sums)));
}

// The stamp of a single file; of several, checksums over theirs.
absl::StatusOr<FileStamp> stamp_of(const Checkpoint& checkpoint) {
  std::vector<int64_t> modified, changed;
  for (const CheckpointFile& file : checkpoint.files()) {
    ASSIGN_OR_RETURN(const FileStamp stamp, file.bytes.stamp());
    modified.push_back(stamp.modified_ns);
    changed.push_back(stamp.changed_ns);
  }
  if (modified.size() == 1) return FileStamp{modified[0], changed[0]};
  const auto sum_of = [](std::span<const int64_t> times) {
    return static_cast<int64_t>(checksum(std::as_bytes(times)));
  };
  return FileStamp{sum_of(modified), sum_of(changed)};
}

uint64_t layout_checksum(const WeightsPlan& plan) {
  const std::string& order = plan.matrix_order();
  const uint64_t sums[] = {packed_layout(), checksum(std::as_bytes(std::span(order)))};
  return checksum(std::as_bytes(std::span(sums)));
}

}  // namespace

absl::StatusOr<PackCache> PackCache::open(const std::string& folder, const Checkpoint& checkpoint,
                                          const WeightsPlan& plan) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!std::filesystem::is_directory(folder, error)) {
    return invalid_argument("'{}' is no folder for packed weights, and cannot become one: {}",
                            folder, error ? error.message() : "something else has that name");
  }
  PackKey key;
  ASSIGN_OR_RETURN(key.stamp, stamp_of(checkpoint));
  ASSIGN_OR_RETURN(key.head, head_checksum(checkpoint));
  key.model_bytes = checkpoint.file_bytes();
  key.layout = layout_checksum(plan);
  key.packed_bytes = plan.matrix_bytes();
  const std::string name = fmt::format("{:016x}-{:016x}.pack", key.head, key.layout);
  return PackCache((std::filesystem::path(folder) / name).string(), key);
}

absl::Status PackCache::check_unchanged(const Checkpoint& checkpoint) const {
  ASSIGN_OR_RETURN(const FileStamp now, stamp_of(checkpoint));
  if (now == key_.stamp) return absl::OkStatus();
  return make_error(absl::StatusCode::kFailedPrecondition,
                    "the model file changed while it was read");
}

absl::Status PackCache::discard(const absl::Status& why) const {
  std::error_code error;
  const bool removed = std::filesystem::remove(path_, error);
  return make_error(why.code(), "the pack '{}' cannot be read on: {}{}", path_, message_of(why),
                    removed ? "; it is removed, and the next start makes another" : "");
}

}  // namespace millrace
