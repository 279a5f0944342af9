#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "files/checkpoint.h"
#include "files/safetensors/safetensors_reader.h"

namespace millrace {

// The weights of a folder: model.safetensors, or the files that model.safetensors.index.json names.
struct HubWeights {
  std::vector<CheckpointFile> files;
  std::vector<StoredTensor> tensors;  // names are unique
};

// Errors name the file. NOT_FOUND: there are no such files; INVALID_ARGUMENT: what the index says
// is not what the files hold.
absl::StatusOr<HubWeights> open_hub_weights(const std::string& folder);

// A whole file of a folder, of at most `bytes_max`. NOT_FOUND: it is not there.
absl::StatusOr<CheckpointFile> open_whole(const std::string& path, uint64_t bytes_max,
                                          std::string_view& text);

}  // namespace millrace
