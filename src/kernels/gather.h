#pragma once

#include <cstdint>
#include <span>

#include "base/system/lanes.h"
#include "tensor/view.h"

namespace millrace::ops {

// out[i] = row indices[i] of `in`: the rows whose logits are wanted. The same contract as
// kernels/ops.h. in: [rows, width]; out: [indices, width].
void gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices, Rows<float> out);

}  // namespace millrace::ops
