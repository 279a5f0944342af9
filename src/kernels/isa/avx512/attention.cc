#include "kernels/attention_kernels.h"
#include "kernels/isa/avx512/simd.h"

namespace millrace {
namespace {
// The query heads of most groups at once; sums leave eight of the 32 registers.
constexpr int kVectorsMax = 8;
constexpr int kSumsMax = 24;
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

const AttentionKernels kAvx512Attention = {
    .rotate = rotate,
    .store_token = store_token,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
