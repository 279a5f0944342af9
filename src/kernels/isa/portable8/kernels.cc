#include "kernels/kernels.h"

#include "kernels/attention_kernels.h"
#include "kernels/isa/portable/simd.h"
#include "kernels/recurrent/recurrent_kernels.h"

namespace millrace {
namespace {
using Simd = PortableSimd<8>;
}  // namespace
}  // namespace millrace

#include "kernels/generic/formats.inc"
#include "kernels/generic/math.inc"
#include "kernels/generic/pointwise.inc"
#include "kernels/generic/probes.inc"
#include "kernels/generic/products_f32.inc"
#include "kernels/generic/products_q8.inc"
#include "kernels/generic/rows.inc"
#include "kernels/generic/rwkv.inc"

namespace millrace {

const Kernels kPortable8Kernels = {
    .times_q8 = times_q8_of,
    .times_f32 = times_f32_of,
    .times_bf16 = nullptr,
    .store_panel = store_panel,
    .hidden = hidden,
    .norm = norm,
    .add = add,
    .scale = scale,
    .keep_largest = keep_largest,
    .match_magnitude = match_magnitude,
    .convert = convert,
    .attention = &kPortable8Attention,
    .rwkv = &kRwkv,
    .recurrent = &kPortable8Recurrent,
    .probes = {.int8 = probe_int8<8>,
               .int8_halves = probe_int8<4>,
               .int8_signed = probe_int8_signed,
               .bf16 = nullptr,
               .f32 = probe_f32,
               .read = probe_read},
};

}  // namespace millrace
