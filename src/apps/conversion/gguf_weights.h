#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/metadata.h"
#include "base/status.h"
#include "base/system/lanes.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"
#include "tensor/dtype.h"

namespace millrace {

// Which tensors a file will have: those of the checkpoint, the matrices of `type` where one is
// given and rows are whole blocks of it. Vectors, norms, routers and positions are F32.
struct WeightsToWrite {
  std::vector<TensorPlan> plan;
  int64_t kept = 0;  // matrices that keep their type, for their rows are no whole blocks
};
WeightsToWrite plan_weights_to_write(const Checkpoint& checkpoint, std::optional<DType> type);

// What GGUF files call files whose weights are mostly of this type (general.file_type).
int64_t gguf_file_type(std::span<const TensorPlan> plan);

// Writes the data of all tensors of the plan, in its order, on all lanes. `progress` is told the
// part of the bytes that is written.
absl::Status write_weights(const Checkpoint& checkpoint, const WeightsToWrite& weights,
                           GgufWriter& writer, LanePool& lanes,
                           absl::FunctionRef<void(double)> progress);

}  // namespace millrace
