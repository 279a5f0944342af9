#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "apps/options/cli.h"
#include "base/status.h"
#include "kernels/isa.h"
#include "models/load.h"
#include "tensor/dtype.h"

// The options that commands share, declared once: their names, help and defaults.

namespace millrace {

// How the model computes; the same for every command that runs one.
struct ComputeOptions {
  std::string model;                   // path of a GGUF file
  int threads = 0;                     // 0: the CPUs this process may use
  std::string isa;                     // empty: the best this CPU has
  std::string activations = "mixed";   // or q8, q16, f32
  std::string kv_cache_dtype = "f16";  // or bf16, f32
  std::string pack_cache;              // a folder; empty: packed weights are not kept
  int64_t weight_memory = 0;           // bytes; 0: all weights stay in memory

  int lanes() const;
  absl::StatusOr<Isa> chosen_isa() const;  // INVALID_ARGUMENT: unknown, or not on this CPU
  ActivationMode activation_mode() const;
  DType kv_dtype() const;
};
void bind(CLI::App& command, ComputeOptions& options);
void bind_kv_cache_dtype(CLI::App& command, std::string& dtype, const std::string& group);

// How the model's vocabulary is read.
struct VocabularyOptions {
  std::string pre;  // the split pattern; empty: the one that the file names
};
void bind(CLI::App& command, VocabularyOptions& options);

// What the engine may hold and do at once.
struct EngineLimits {
  int64_t max_model_len = 0;  // 0: what the model was trained for
  int64_t max_num_seqs = 64;
  int64_t max_num_batched_tokens = 512;
  int64_t long_prefill_token_threshold = 0;  // 0: a quarter of the above
  int64_t kv_cache_memory_bytes = 0;         // 0: sized from the sequences and the memory at hand
  int64_t block_size = 16;
  bool prefix_caching = true;
  int64_t state_snapshot_tokens = 512;
};
void bind(CLI::App& command, EngineLimits& limits);

// Reads "4k", "2M", "1g" as well as plain integers, within [min, max]: k, m, g, t are powers of
// 1000 and K, M, G, T of 1024.
CLI::Validator as_size(int64_t min = 0, int64_t max = std::numeric_limits<int64_t>::max());
// A number in [min, max], which NaN never is.
CLI::Validator number_within(double min, double max);
// Refuses an empty value, which is what a script gives whose variable is not set.
CLI::Validator not_empty();

}  // namespace millrace
