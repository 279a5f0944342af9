#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/status.h"
#include "base/system/lanes.h"
#include "models/load.h"
#include "tensor/dtype.h"

namespace millrace {

// The shape of a model of random weights, for tests and benches that need no file.
struct RandomModelShape {
  // Or qwen2, qwen3; qwen3moe, olmoe or granitemoe, which have experts, as llama may; gemma3, with
  // two ropes and norms around its bodies, whose windows are in every other layer; command-r, whose
  // bodies run side by side; deepseek2, whose keys and values are latents; mamba2, all of recurrent
  // units, and granitehybrid, of which every attention_period-th layer has attention; gemma3n, with
  // three streams, whose layers from the third on read the caches of the first two, and of whose
  // networks every other one lets some of its gates through alone.
  std::string architecture = "llama";
  int64_t layers = 2;
  int64_t width = 64;
  int64_t hidden = 96;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 16;
  int64_t vocab = 64;
  int64_t context = 256;
  int64_t window = 0;
  int64_t experts = 0;          // of each layer, `hidden` wide; 0: no mixture
  int64_t chosen = 2;           // of them, for a row
  int64_t state_dim = 16;       // of a recurrent unit, for each of 2 * width channels
  int64_t state_head_dim = 16;  // channels that share a decay
  int64_t attention_period = 2;
  int64_t latent_dim = 24;
  int64_t rotated_dim = 8;  // of a head's keys behind head_dim others, shared by all heads
  bool tied_embeddings = false;
  DType format = DType::kF32;  // of the matrices; their widths are whole blocks of it
  uint64_t seed = 1;
};

// A whole GGUF file of such a model, to be given to Checkpoint::parse. It has no tokenizer. Its
// logits spread over several units, so that greedy and sampled answers wander instead of repeating
// one token.
absl::StatusOr<std::vector<std::byte>> random_model(const RandomModelShape& shape);

// Writes such a model to a file, whatever its size, for benches that also run other engines: of
// each matrix only some rows are random and the others repeat them, and the vocabulary is one
// without texts ("no_vocab"). `progress` is told the part that is written. INVALID_ARGUMENT where
// rows are no whole blocks of the format.
absl::Status write_random_model(const std::string& path, const RandomModelShape& shape,
                                absl::FunctionRef<void(double)> progress);

// What random_model() makes, loaded.
absl::StatusOr<std::unique_ptr<Model>> load_random_model(const RandomModelShape& shape,
                                                         const LoadOptions& options,
                                                         LanePool& lanes);

}  // namespace millrace
