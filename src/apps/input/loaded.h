#pragma once

#include <memory>

#include "apps/options/options.h"
#include "base/status.h"
#include "base/system/lanes.h"
#include "exec/local.h"
#include "files/checkpoint.h"
#include "kernels/isa.h"
#include "models/model.h"

namespace millrace {

// A model in memory and the lanes that run it, without an engine: what measuring commands drive
// directly.
struct Loaded {
  Isa isa = Isa::kScalar;
  std::unique_ptr<LanePool> lanes;
  std::unique_ptr<Model> model;
};

// Shows a progress bar on a terminal meanwhile. The lanes help; head_rows: as of LoadOptions.
absl::StatusOr<std::unique_ptr<Model>> load_on(LanePool& lanes, Isa isa,
                                               const Checkpoint& checkpoint,
                                               const ComputeOptions& compute,
                                               int32_t head_rows = 0);
// The same on lanes of its own.
absl::StatusOr<Loaded> load_for(const Checkpoint& checkpoint, const ComputeOptions& compute);

// Waits until the model has its weights, in huge pages, and their pack is written. An executor
// whose cache holds `sequences` sequences of `tokens_max` tokens (FixedSequences). ops: what
// computes in place of the tier's own, or null.
absl::StatusOr<std::unique_ptr<LocalExecutor>> make_executor(const Loaded& loaded,
                                                             const ComputeOptions& compute,
                                                             int32_t sequences, int32_t tokens_max,
                                                             int32_t rows_max,
                                                             const Ops* ops = nullptr);

}  // namespace millrace
