#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "apps/options/options.h"
#include "base/clock.h"
#include "base/status.h"
#include "decode/propose/all.h"
#include "exec/cache_plan.h"
#include "exec/local.h"
#include "files/checkpoint.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace millrace {

// A second model that drafts for the served one, on its lanes.
struct DraftModel {
  std::string name;
  std::unique_ptr<const Model> model;
  std::unique_ptr<LocalExecutor> executor;
  int64_t kv_bytes = 0;
  bool is_limited = false;  // its cache does not hold every sequence at its longest
};

// The file or folder of a draft model, read as far as it says whether it can draft. Errors name it.
class DraftSource {
 public:
  // `compute` and `vocabulary`: of the served model.
  static absl::StatusOr<DraftSource> open(const DraftModelConfig& config,
                                          const ComputeOptions& compute,
                                          const VocabularyOptions& vocabulary,
                                          int32_t block_tokens);

  // INVALID_ARGUMENT, with the first token that differs, if the served model reads other texts from
  // the same tokens. Tokens that nothing uses do not matter.
  absl::Status check_vocabulary(const Vocab& served) const;
  std::span<const KvGroup> groups() const { return plan_.groups; }
  // With weights in memory, and a cache of `options.units`.
  absl::StatusOr<std::unique_ptr<DraftModel>> load(LanePool& lanes,
                                                   const LocalOptions& options) const;

 private:
  DraftSource(Checkpoint checkpoint, ModelSpec spec)
      : checkpoint_(std::move(checkpoint)), spec_(std::move(spec)) {}
  absl::Status check_all(const VocabularyOptions& vocabulary, int32_t block_tokens);

  Checkpoint checkpoint_;
  ModelSpec spec_;
  CachePlan plan_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  ComputeOptions compute_;
  int32_t head_rows_ = 0;
};

// The proposer of a loaded draft model, which drafts `tokens_known` tokens at most.
std::unique_ptr<Proposer> make_proposer(const DraftModelConfig& config, const DraftModel& model,
                                        int32_t tokens_known, bool prefix_caching,
                                        const Clock& clock);

}  // namespace millrace
