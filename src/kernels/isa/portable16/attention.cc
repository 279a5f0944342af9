#include "kernels/attention_kernels.h"
#include "kernels/isa/portable/simd.h"

namespace millrace {
namespace {
using Simd = PortableSimd<16>;
constexpr int kVectorsMax = 2;  // plain arrays compile slowly, and groups do not change the bits
}  // namespace
}  // namespace millrace

#include "kernels/generic/attention.inc"
#include "kernels/generic/rope.inc"

namespace millrace {

const AttentionKernels kPortable16Attention = {
    .rotate = rotate,
    .round = round,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
