#pragma once

#include <type_traits>

#include "base/check.h"
#include "quant/formats/bf16.h"
#include "quant/formats/f16.h"
#include "quant/formats/f32.h"
#include "quant/formats/mxfp4.h"
#include "quant/formats/q4_0.h"
#include "quant/formats/q4_1.h"
#include "quant/formats/q4_k.h"
#include "quant/formats/q5_0.h"
#include "quant/formats/q5_1.h"
#include "quant/formats/q5_k.h"
#include "quant/formats/q6_k.h"
#include "quant/formats/q8_0.h"
#include "tensor/dtype.h"

// Every format that weights can have. Format X of tensor/dtypes.def is a struct BlockX, laid out
// bit for bit as in GGUF, in a header of its own:
//   kType, kElements              its element type, and how many neighbours a block holds
//   bool is_finite() const        every value is a number
//   void unpack(float*) const     the block's values, exact
//   static BlockX pack(const float*)  the block that comes close to these values
// and how a row of such blocks lies in the panels that the kernels read (PanelX of quant/panel.h):
//   put(PanelX&, int row, const BlockX&)
//   get(const PanelX&, int row, float*)  as float32, exactly what unpack gives
// Blocks in a file need not be aligned: copy them out (load_block in quant/format.h).

namespace millrace {

#define DTYPE(name, elements, bytes, gguf)                                                   \
  static_assert(Block##name::kType == DType::k##name && Block##name::kElements == elements); \
  static_assert(sizeof(Block##name) == bytes && std::is_trivially_copyable_v<Block##name>);
#include "tensor/dtypes.def"
#undef DTYPE

// Calls visitor(std::type_identity<BlockX>()) for the format X of `type`.
template <typename Visitor>
decltype(auto) visit_format(DType type, Visitor&& visitor) {
  switch (type) {
#define DTYPE(name, elements, bytes, gguf) \
  case DType::k##name:                     \
    return visitor(std::type_identity<Block##name>());
#include "tensor/dtypes.def"
#undef DTYPE
  }
  check_failed(__FILE__, __LINE__, "type is listed in tensor/dtypes.def", {});
}

}  // namespace millrace
