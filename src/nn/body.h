#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "base/system/lanes.h"
#include "kernels/ops.h"
#include "kernels/recurrent/state_rows.h"
#include "kvstore/kv_store.h"
#include "nn/attention/rope.h"
#include "nn/weights.h"
#include "tensor/dtype.h"
#include "tensor/view.h"

namespace millrace {

// What a body keeps of each sequence; zeros: nothing.
struct KvSpec {
  int64_t token_bytes = 0;     // of each token, in blocks
  int64_t sequence_bytes = 0;  // a state, a multiple of 64; not both
  ops::CausalPattern pattern;  // which tokens later rows read
  // It keeps nothing itself: it reads what the body of this number keeps, which is an earlier one
  // of the model (for_each_body() counts) with the same bytes and pattern.
  int32_t shared = -1;
};

// Where one body keeps what it keeps, and the batch's rows as its group's tables place them; nulls
// for a body that keeps nothing.
struct KvPlace {
  const ops::AttentionRows* rows = nullptr;  // of a body that keeps tokens, or reads another's
  const ops::StateRows* states = nullptr;    // of a body that keeps a state
  KvBytes bytes;                             // its part of the group's units
  DType dtype = DType::kF16;                 // of what it keeps of tokens
  int32_t block_tokens = 0;

  ops::StateLayer state_layer() const { return {.data = bytes.data, .stride = bytes.stride}; }
};

// What one lane knows of the step while it goes through the layers.
struct BodyContext {
  const Ops& ops;
  std::span<const RopeAngles> ropes;  // of the step's rows, as RopeTable numbers them
  Rows<const float> layer_inputs;     // [rows, layers * width] per-layer embeddings, or none
  KvPlace place;                      // of this body
  Rows<float> step_rows = {};         // step_width() wide or wider, shared by all lanes
  std::byte* workspace = nullptr;     // workspace_bytes(rows), shared by all lanes
  std::span<std::byte> carried;       // carried_bytes() or more, shared by all lanes
};

// What a residual branch of a layer does between its norm and its sum (nn/layer.h). Constant after
// load().
class Body {
 public:
  virtual ~Body() = default;
  virtual absl::Status load(Weights& weights) = 0;
  // The forms that forward() reads its input in.
  virtual ActivationForms input_forms() const = 0;
  // Working memory for a step of so many rows.
  virtual int64_t workspace_bytes(int64_t rows) const = 0;
  // Floats of each row that bodies of this kind hand on to each other until the step's end.
  virtual int64_t step_width() const { return 0; }
  // Working memory that is zero at first and that only this kind of body writes to.
  virtual int64_t carried_bytes(const KvPlace& place, int lanes) const = 0;
  // out, or out += : [rows, width]. Every lane calls it after a barrier, and it ends with one.
  virtual void forward(Lane& lane, const BodyContext& context, const Activations& in,
                       ops::Store store, Rows<float> out) const = 0;
};

}  // namespace millrace
