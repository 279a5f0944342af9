#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "base/system/lanes.h"
#include "kernels/ops.h"
#include "nn/attention/rope.h"
#include "nn/weights.h"
#include "tensor/kv_layer.h"
#include "tensor/view.h"

namespace millrace {

// What a body keeps of each token of a sequence, and which of them its later rows read; no heads:
// nothing.
struct KvShape {
  int32_t heads = 0;
  int32_t head_dim = 0;
  ops::CausalPattern pattern;

  int64_t token_bytes(DType cache) const { return 2 * row_bytes(cache, int64_t{heads} * head_dim); }
};

// Where one body keeps its keys and values, and the rows as its group's block tables place them.
// Null for a body that keeps nothing.
struct KvPlace {
  const ops::AttentionRows* rows = nullptr;
  const KvLayer* cache = nullptr;
};

// What one lane knows of the step while it goes through the layers.
struct BodyContext {
  const Ops& ops;
  std::span<const RopeAngles> ropes;  // of the step's rows, as RopeTable numbers them
  Rows<const float> layer_inputs;     // [rows, layers * width] per-layer embeddings, or none
  KvPlace place;                      // of this body
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
  // Working memory that is zero at first and that only this kind of body writes to.
  virtual int64_t carried_bytes(const KvPlace& place, int lanes) const = 0;
  // out, or out += : [rows, width]. Every lane calls it after a barrier, and it ends with one.
  virtual void forward(Lane& lane, const BodyContext& context, const Activations& in,
                       ops::Store store, Rows<float> out) const = 0;
};

}  // namespace millrace
