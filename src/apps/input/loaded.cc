#include "apps/input/loaded.h"

#include <filesystem>

#include "apps/terminal/progress.h"
#include "exec/cache_plan.h"
#include "exec/fixed_sequences.h"
#include "models/load.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Model>> load_on(LanePool& lanes, Isa isa,
                                               const Checkpoint& checkpoint,
                                               const ComputeOptions& compute, int32_t head_rows) {
  Progress progress("loading " + std::filesystem::path(compute.model).filename().string());
  LoadOptions options;
  options.activations = compute.activation_mode();
  options.isa = isa;
  options.pack_cache = compute.pack_cache;
  options.weight_memory = compute.weight_memory;
  options.head_rows = head_rows;
  options.progress = [&progress](double part) { progress.update(part); };
  return load_model(checkpoint, options, lanes);
}

absl::StatusOr<Loaded> load_for(const Checkpoint& checkpoint, const ComputeOptions& compute) {
  Loaded loaded;
  ASSIGN_OR_RETURN(loaded.isa, compute.chosen_isa());
  loaded.lanes = std::make_unique<LanePool>(compute.lanes());
  ASSIGN_OR_RETURN(loaded.model, load_on(*loaded.lanes, loaded.isa, checkpoint, compute));
  return loaded;
}

absl::StatusOr<std::unique_ptr<LocalExecutor>> make_executor(const Loaded& loaded,
                                                             const ComputeOptions& compute,
                                                             int32_t sequences, int32_t tokens_max,
                                                             int32_t rows_max, const Ops* ops) {
  RETURN_IF_ERROR(loaded.model->await_weights(*loaded.lanes));
  loaded.model->await_pack();
  loaded.model->await_huge_pages();
  LocalOptions options;
  options.isa = loaded.isa;
  options.ops = ops;
  options.kv_dtype = compute.kv_dtype();
  options.units = FixedSequences::units(
      plan_cache(loaded.model->spec(), options.kv_dtype, options.block_tokens).groups, sequences,
      tokens_max);
  options.rows_max = rows_max;
  options.sequences_max = sequences;
  return LocalExecutor::create(*loaded.model, *loaded.lanes, options);
}

}  // namespace millrace
