#pragma once

#include <string>

#include "base/status.h"
#include "files/checkpoint.h"

namespace millrace {

// The model of a Hugging Face folder, with metadata and tensors as a GGUF file of it has them: its
// config.json's keys under the names that converters give them, its tensors made of those of its
// safetensors files. UNIMPLEMENTED names what it asks for that Millrace does not know: an
// architecture, a key, a tensor, a way in which weights are quantised.
absl::StatusOr<Checkpoint> open_hub_folder(const std::string& folder);

}  // namespace millrace
