#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "files/checkpoint.h"
#include "nn/layer.h"
#include "nn/residual/altup.h"

namespace millrace {

// A weight that is some rows of a tensor: of a matrix that makes queries, keys and values at once,
// or gates and ups. Of a matrix for each expert or head, the same rows of each.
struct TensorSlice {
  std::string name;    // as layers ask for it, with its last part: "attn_q.weight"
  std::string source;  // the tensor, without its layer: "attn_qkv.weight"
  int64_t first_row = 0;
  int64_t source_rows = 0;
  bool transposed = false;  // those rows are the weight's columns; of a matrix for each head alone
};

// A model as data: everything that its forward pass depends on but the weights.
struct ModelSpec {
  std::string architecture;
  std::string name;
  int64_t width = 0;
  int32_t vocab_size = 0;
  int32_t context_max = 0;  // positions it was trained for
  float embedding_scale = 1;
  int64_t learned_positions = 0;  // rows of a table of positions; 0: there is none
  NormSpec embedding_norm;
  LayerInputsSpec layer_inputs;
  std::optional<AltUpSpec> altup;  // of every layer
  std::vector<LayerSpec> layers;
  NormSpec output_norm;
  bool tied_embeddings = false;  // the head is the embedding
  bool head_bias = false;
  float logit_scale = 1;
  float logit_softcap = 0;  // as AttentionSpec::softcap
  std::vector<TensorSlice> slices;
  std::vector<std::string> unused;  // tensors that may be left unread
};

// Reads what the file says about its model. INVALID_ARGUMENT names the key or tensor at fault;
// UNIMPLEMENTED says what Millrace cannot run yet, or what else the file is than a model. A key of
// the architecture or a tensor that nothing reads is UNIMPLEMENTED too, unless it asks for nothing.
// A file that passes loads, if its weights are numbers.
absl::StatusOr<ModelSpec> read_spec(const Checkpoint& checkpoint);

}  // namespace millrace
