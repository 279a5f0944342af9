#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "base/system/lanes.h"
#include "core/kv_spec.h"
#include "kernels/ops.h"
#include "nn/weights.h"
#include "tensor/kv_layer.h"
#include "tensor/view.h"

namespace millrace {

// Where one sublayer keeps its keys and values, and the rows as its group's block tables place
// them. Null for a sublayer that keeps nothing.
struct KvPlace {
  const ops::AttentionRows* rows = nullptr;
  const KvLayer* cache = nullptr;
};

// What one lane knows of the step while it goes through the layers.
struct ForwardContext {
  const Ops& ops;
  Rows<float> residual;  // [rows, width] the stream that every sublayer adds to
  ops::Rope::Pairs rope_pairs = ops::Rope::Pairs::kNeighbours;
  Rows<const float> rope_angles;   // [rows, rotated]
  KvPlace place;                   // of this sublayer
  std::byte* workspace = nullptr;  // workspace_bytes(rows), shared by all lanes
  std::span<std::byte> carried;    // carried_bytes() or more, shared by all lanes
};

// One residual branch of a layer: residual += body(norm(residual)). Constant after load().
class Sublayer {
 public:
  virtual ~Sublayer() = default;
  // What it keeps of a sequence with a cache of this type; all zero: nothing.
  virtual KvSpec kv(DType cache) const = 0;
  virtual absl::Status load(Weights& weights) = 0;
  // Working memory for a step of so many rows.
  virtual int64_t workspace_bytes(int64_t rows) const = 0;
  // Working memory that is zero at first and that only this kind of sublayer writes to.
  virtual int64_t carried_bytes(const KvPlace& place, int lanes) const = 0;
  // Every lane calls it after a barrier, and it ends with one.
  virtual void forward(Lane& lane, const ForwardContext& context) const = 0;
};

}  // namespace millrace
