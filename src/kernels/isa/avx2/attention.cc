#include "kernels/attention_kernels.h"
#include "kernels/isa/avx2/simd.h"

static_assert(millrace::Simd::kLanes == 8);

#include "kernels/generic/attention.inc"
#include "kernels/generic/rope.inc"

namespace millrace {

const AttentionKernels kAvx2Attention = {
    .rotate = rotate,
    .round = round,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
