#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/system/lanes.h"
#include "exec/fixed_sequences.h"
#include "exec/local.h"
#include "files/checkpoint.h"
#include "kernels/isa.h"
#include "models/load.h"
#include "models/model.h"

// One sequence through a model, however it is cut.

namespace millrace {

inline constexpr const char* kSharedModels = "../shared/data/models/";
inline constexpr const char* kSharedGoldens = "../shared/data/goldens/";
inline constexpr const char* kDefaultModel = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

struct RunShape {
  Isa isa = best_isa();
  DType kv_dtype = DType::kF32;
  int32_t block_tokens = 16;
  int32_t rows_max = 64;
};

class Runner {
 public:
  Runner(const std::string& path, ActivationMode activations, int threads);
  Runner(const Checkpoint& checkpoint, const LoadOptions& options, int threads);

  const Model& model() const { return *model_; }
  // The logits after every token from the `from`th on, given to the executor in slices of the sizes
  // that `next_rows` says. [tokens - from, vocab]
  std::vector<float> logits(const std::vector<TokenId>& tokens, int32_t from, const RunShape& shape,
                            const std::function<int32_t()>& next_rows);

 private:
  LanePool lanes_;
  std::unique_ptr<Model> model_;
};

// log(softmax(row)): [vocab].
std::vector<double> log_softmax(std::span<const float> row);

}  // namespace millrace
