#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/system/lanes.h"
#include "core/executor.h"
#include "exec/sampler.h"
#include "kernels/isa.h"
#include "kernels/ops.h"
#include "kvstore/kv_store.h"
#include "models/model.h"
#include "tensor/buffer.h"

namespace millrace {

struct LocalOptions {
  Isa isa = best_isa();
  const Ops* ops = nullptr;      // in place of the tier's own; outlives the executor
  DType kv_dtype = DType::kF16;  // F16, BF16 or F32
  int32_t block_tokens = 16;
  std::vector<int64_t> units;  // of each group, as plan_cache() lists them
  int32_t rows_max = 512;
  int32_t sequences_max = 16;
};

// Runs a model on this process's lanes. start() keeps the batch and finish() computes it, so that
// what the control wing prepares in between costs the lanes nothing but their idle time.
class LocalExecutor final : public Executor {
 public:
  // `model` and `lanes` outlive the executor. RESOURCE_EXHAUSTED when memory is short.
  static absl::StatusOr<std::unique_ptr<LocalExecutor>> create(const Model& model, LanePool& lanes,
                                                               const LocalOptions& options);
  const Capacity& capacity() const override { return capacity_; }
  absl::Status start(const Batch& batch) override;
  absl::Status finish(const DrawOrders& orders, StepOutput& output) override;

  // Computes a batch and shows the logits of its wanted rows, in order, on one lane or another;
  // they are gone when `visit` returns. For evaluation: what is drawn from leaves through finish().
  // An error means that the executor is broken for good, and what was shown is void.
  absl::Status visit_logits(const Batch& batch, absl::FunctionRef<void(const WantedLogits&)> visit);

  // Bytes of working memory, whatever the steps ask for.
  int64_t working_bytes() const;

 private:
  using VisitLogits = absl::FunctionRef<void(Lane&, const WantedLogits&)>;

  LocalExecutor(const Model& model, LanePool& lanes, const LocalOptions& options);
  absl::Status allocate();
  // Checks a batch against the capacity and brings its slices into the form of the kernels.
  void prepare(const Batch& batch);
  void prepare_tokens(const Batch& batch, size_t group);
  // Puts some valid block in the place of invalid ones: kernels may touch any key of a tile.
  void fill_tables(const Batch& batch, size_t group);
  void prepare_states(const Batch& batch, size_t group);
  // Runs the batch in flight on all lanes; `visit` is called on each of them.
  absl::Status compute(VisitLogits visit);
  void compute_on(Lane& lane, VisitLogits visit) const;

  const Model& model_;
  LanePool& lanes_;
  const LocalOptions options_;
  const CpuOps cpu_ops_;
  const Ops& ops_;
  Capacity capacity_;
  KvStore store_;
  std::vector<KvPlace> places_;               // [bodies]
  std::vector<ops::CausalPattern> patterns_;  // [groups]
  Buffer step_memory_, carried_memory_;
  Sampler sampler_;

  const Batch* batch_ = nullptr;  // between start and finish
  // Of each group of tokens, or of the one of states.
  std::vector<std::vector<ops::AttentionSlice>> slices_;  // [groups, slices]
  std::vector<std::vector<BlockId>> filled_tables_;       // [groups]
  std::vector<ops::KeyRanges> keys_;                      // [groups]
  ops::KeyPaths paths_;                                   // of all groups
  std::vector<ops::AttentionRows> rows_;                  // [groups]
  std::vector<ops::StateSlice> state_slices_;             // [slices]
  std::vector<ops::SliceSave> saves_;                     // of the batch
  std::vector<int32_t> written_units_;                    // states that the batch writes
  ops::StateRows state_rows_;
  std::vector<int32_t> want_positions_;  // [wants]
};

}  // namespace millrace
