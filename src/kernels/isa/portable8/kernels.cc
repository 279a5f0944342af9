#include "kernels/kernels.h"

#include "kernels/attention_kernels.h"

#include "kernels/isa/portable/simd.h"

namespace millrace {
namespace {
using Simd = PortableSimd<8>;
}  // namespace
}  // namespace millrace

#include "kernels/generic/math.inc"
#include "kernels/generic/rows.inc"

namespace millrace {

const Kernels kPortable8Kernels = {
    .times_q8 = nullptr,
    .times_f32 = nullptr,
    .rms_norm = rms_norm,
    .quantise = quantise,
    .silu_times = silu_times,
    .attention = &kPortable8Attention,
};

}  // namespace millrace
