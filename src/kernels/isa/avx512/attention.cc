#include "kernels/attention_kernels.h"
#include "kernels/isa/avx512/simd.h"

namespace millrace {
namespace {
// As many as AVX2: with two registers of keys each they hide the latency of the products.
constexpr int kVectorsMax = 6;
}  // namespace
}  // namespace millrace

#include "kernels/generic/attention.inc"
#include "kernels/generic/rope.inc"

namespace millrace {

const AttentionKernels kAvx512Attention = {
    .rotate = rotate,
    .round = round,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
