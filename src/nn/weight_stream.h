#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"
#include "base/system/lanes.h"
#include "kernels/ops.h"
#include "quant/packed_matrix.h"
#include "tensor/view.h"

namespace millrace {

// Weights that are not all in memory at once. A pass needs them in parts: its layers in order,
// then, for each head(), the head in parts of so many rows.
class WeightStream {
 public:
  virtual ~WeightStream() = default;

  // Returns when the weights of the pass's n-th part, from 0 on, are in memory. Those of the parts
  // before may go, unless another lane has gone on: then this one finds nothing to do, and the
  // weights of its own part may be gone too.
  virtual void enter(int64_t n) = 0;
  // Rows of a part of the head, but for the last.
  virtual int64_t head_rows() const = 0;
  // As Ops::embed, of a table that need not be in memory.
  virtual void embed(Lane& lane, const Ops& ops, const PackedMatrix& table,
                     std::span<const TokenId> tokens, Rows<float> out) = 0;
};

// One lane's way through the parts of one pass.
class WeightCursor {
 public:
  explicit WeightCursor(WeightStream& stream) : stream_(stream) {}

  WeightStream& stream() const { return stream_; }
  // The lane calls it after a barrier, and reads no part before.
  void enter_next() { stream_.enter(next_++); }

 private:
  WeightStream& stream_;
  int64_t next_ = 0;
};

}  // namespace millrace
