#include "kernels/attention_kernels.h"
#include "kernels/isa/portable/simd.h"

namespace millrace {
namespace {
using Simd = PortableSimd<8>;
// Plain arrays compile slowly, and groups do not change the bits.
constexpr int kVectorsMax = 2;
constexpr int kSumsMax = 8;
}  // namespace
}  // namespace millrace

#include "kernels/generic/kv_codecs.inc"
#include "kernels/generic/kv_latents.inc"

namespace millrace {
namespace {
using Bf16Codec = PlainCodec<Bf16Number>;
using Bf16LatentCodec = LatentCodec<Bf16Number>;
}  // namespace
}  // namespace millrace

#include "kernels/generic/attention.inc"
#include "kernels/generic/rope.inc"

namespace millrace {

const AttentionKernels kPortable8Attention = {
    .rotate = rotate,
    .store_token = store_token,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
