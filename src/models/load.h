#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/system/lanes.h"
#include "files/checkpoint.h"
#include "kernels/isa.h"
#include "models/model.h"

namespace millrace {

// In which form activations enter products (kernels/activations.h).
enum class ActivationMode : uint8_t {
  kQ8,     // quantised weights read q8; BF16 weights read bf16 where the tier has such products
  kMixed,  // as kQ8, but queries, keys, values and logits are made as with kQ16
  kQ16,    // quantised weights read q16
  kF32     // every product reads float32
};

struct LoadOptions {
  ActivationMode activations = ActivationMode::kMixed;
  Isa isa = best_isa();  // that the model will run on: it decides the forms of activations
  // A folder in which packed weights are kept for the next start; empty: they are not.
  std::string pack_cache;
  // Bytes of memory for weights; what does not fit is read from the pack in each pass. 0: all fit.
  int64_t weight_memory = 0;
  // Logits are computed of the first so many tokens alone; 0: of all. Weights and packs are the
  // same.
  int32_t head_rows = 0;
  // Called on the caller's thread after each tensor with the share of bytes packed, 0 to 1; may be
  // empty.
  std::function<void(double)> progress;
};

// Packs the file's weights into huge-page memory of the model's own, on all lanes: the checkpoint
// may be closed afterwards. Errors name the tensor: what the file holds is used or refused before
// anything is packed, and values that are not numbers are INVALID_ARGUMENT.
// With a pack of this very file in the folder, matrices are read from that, and the model is there
// before they are: Model::begin_reading, on a thread for each lane but one, and await_weights.
// Without one it is written behind the scenes: Model::await_pack. A pack that cannot be used or
// kept is a warning in the log.
// Where the weights do not fit their memory, the model has streamed() weights, and a pack that
// cannot be written is an error; RESOURCE_EXHAUSTED: the memory is too little, and how much would
// do; INVALID_ARGUMENT: there is no folder for packs, or head_rows are fewer than all.
absl::StatusOr<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint,
                                                  const LoadOptions& options, LanePool& lanes);

}  // namespace millrace
