#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "files/checkpoint.h"
#include "nn/attention/attention.h"
#include "nn/ffn.h"

namespace millrace {

// How rotary frequencies are stretched beyond the context that a model was trained with.
struct RopeScaling {
  enum class Kind : uint8_t { kNone, kLinear, kYarn };
  Kind kind = Kind::kNone;
  double factor = 1;
  // YaRN (Peng et al. 2023, section 3.4).
  double original_context = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  double attention_factor = 1;
};

struct RopeSpec {
  ops::Rope::Pairs pairs = ops::Rope::Pairs::kNeighbours;
  int32_t rotated = 0;  // dimensions of a head
  double base = 10000;
  RopeScaling scaling;
  bool has_factors = false;  // a tensor of divisors, one a pair (Llama 3.1)
};

using SublayerBody = std::variant<AttentionSpec, FfnSpec>;

struct LayerSpec {
  std::vector<SublayerBody> sublayers;  // each with its norm before and its residual around
};

// A model as data: everything that its forward pass depends on but the weights.
struct ModelSpec {
  std::string architecture;
  std::string name;
  int64_t width = 0;
  int32_t vocab_size = 0;
  int32_t context_max = 0;  // positions it was trained for
  float norm_epsilon = 0;
  RopeSpec rope;
  std::vector<LayerSpec> layers;
  bool tied_embeddings = false;  // the head is the embedding
  std::string (*tensor_name)(Role role, int32_t layer) = nullptr;
};

// Reads what the file says about its model. INVALID_ARGUMENT names the key or tensor at fault;
// UNIMPLEMENTED says what Millrace cannot run yet, or what else the file is than a model. A key of
// the architecture or a tensor that nothing reads is UNIMPLEMENTED too, unless it asks for nothing.
// A file that passes loads, if its weights are numbers.
absl::StatusOr<ModelSpec> read_spec(const Checkpoint& checkpoint);

// Bytes of cache that one token takes in all layers together.
int64_t kv_token_bytes(const ModelSpec& spec, DType cache);

// The angle by which each pair turns per position. factors: [rotated / 2] or empty.
std::vector<float> rope_frequencies(const RopeSpec& rope, std::span<const float> factors);
// What cosine and sine are multiplied by.
float rope_magnitude(const RopeScaling& scaling);

}  // namespace millrace
