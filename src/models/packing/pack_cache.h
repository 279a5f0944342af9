#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "files/checkpoint.h"
#include "files/pack_file.h"
#include "models/weights_plan.h"

namespace millrace {

// The pack of one model in a folder of packs. A pack's name is made of what the model file's head
// holds and of the layout, not of where the file lies; a pack of an earlier state of that file is
// replaced.
class PackCache {
 public:
  // Makes the folder where it is missing. INVALID_ARGUMENT: it cannot be made, or the checkpoint is
  // no file.
  static absl::StatusOr<PackCache> open(const std::string& folder, const Checkpoint& checkpoint,
                                        const WeightsPlan& plan);

  const std::string& path() const { return path_; }
  // As PackFile::open.
  absl::StatusOr<PackFile> find() const { return PackFile::open(path_, key_); }
  // For what is or was packed out of the checkpoint.
  absl::StatusOr<PackWriter> writer() const { return PackWriter::create(path_, key_); }
  // FAILED_PRECONDITION: the checkpoint's file has changed since open(), so that what was packed
  // may be of both states.
  absl::Status check_unchanged(const Checkpoint& checkpoint) const;
  // Removes the pack because of this error with it, so that the next start makes another; the error
  // that says so.
  absl::Status discard(const absl::Status& why) const;
  // The same file in the same state, to be packed in the same way.
  bool is_of(const PackCache& other) const { return key_ == other.key_; }

 private:
  PackCache(std::string path, PackKey key) : path_(std::move(path)), key_(key) {}

  std::string path_;
  PackKey key_;
};

}  // namespace millrace
