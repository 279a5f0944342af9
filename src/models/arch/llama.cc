#include "models/arch/family.h"

namespace millrace {

// Llama 1 to 3, SmolLM2, and Mistral with its sliding window. Converters permute the rows of
// queries and keys so that rotated pairs are neighbours.
absl::StatusOr<ModelSpec> read_llama(ArchReader& reader) {
  return read_family(
      reader,
      {.pairs = ops::Rope::Pairs::kNeighbours, .biases = Presence::kOptional, .window = true});
}

}  // namespace millrace
