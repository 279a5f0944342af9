#include "models/arch/family.h"

namespace millrace {

// Qwen 3, dense: no biases, an RMS norm of each query and key head (Yang et al. 2025).
absl::StatusOr<ModelSpec> read_qwen3(ArchReader& reader) {
  return read_family(reader, {.pairs = ops::Rope::Pairs::kHalves, .head_norms = true});
}

}  // namespace millrace
