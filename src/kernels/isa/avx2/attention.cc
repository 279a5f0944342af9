#include "kernels/attention_kernels.h"
#include "kernels/isa/avx2/simd.h"

namespace millrace {
namespace {
// With two registers of keys for each, six fill 12 of the 16 registers.
constexpr int kVectorsMax = 6;
constexpr int kSumsMax = 12;
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

const AttentionKernels kAvx2Attention = {
    .rotate = rotate,
    .store_token = store_token,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
