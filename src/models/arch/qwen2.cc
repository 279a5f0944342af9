#include "models/arch/family.h"

namespace millrace {

// Qwen 2 and 2.5: biases on queries, keys and values (Yang et al. 2024).
absl::StatusOr<ModelSpec> read_qwen2(ArchReader& reader) {
  return read_family(reader, {.pairs = ops::Rope::Pairs::kHalves, .biases = Presence::kRequired});
}

}  // namespace millrace
