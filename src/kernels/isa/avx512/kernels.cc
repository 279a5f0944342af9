#include "kernels/kernels.h"

#include "kernels/attention_kernels.h"

#include "kernels/isa/avx512/simd.h"

static_assert(millrace::Simd::kLanes == 16);

#include "kernels/generic/math.inc"
#include "kernels/generic/rows.inc"

namespace millrace {

const Kernels kAvx512Kernels = {
    .times_q8 = nullptr,
    .times_f32 = nullptr,
    .rms_norm = rms_norm,
    .quantise = quantise,
    .silu_times = silu_times,
    .attention = &kAvx512Attention,
};

}  // namespace millrace
