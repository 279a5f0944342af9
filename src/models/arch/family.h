#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/spec.h"

namespace millrace {

enum class Presence : uint8_t { kAbsent, kOptional, kRequired };

// In what the relatives of Llama differ: pre-norm decoders of softmax attention and SwiGLU.
struct FamilyTraits {
  ops::Rope::Pairs pairs = ops::Rope::Pairs::kNeighbours;
  Presence biases = Presence::kAbsent;  // of queries, keys and values
  bool head_norms = false;
  bool window = false;  // every layer has the sliding window that the file names
};

absl::StatusOr<ModelSpec> read_family(ArchReader& reader, const FamilyTraits& traits);

// The names that GGUF files give to the weights of a decoder. A role outside the layers ignores
// `layer`.
std::string gguf_tensor_name(Role role, int32_t layer);

}  // namespace millrace
