#include "kernels/kernels.h"

#include "kernels/isa/avx512bf16/pairs.h"

static_assert(millrace::Simd::kLanes == 16);

#include "kernels/generic/probes_bf16.inc"
#include "kernels/generic/products_bf16.inc"

namespace millrace {

const PanelTimesBf16 kAvx512TimesBf16 = panel_times_bf16;
int64_t (*const kAvx512ProbeBf16)(int64_t) = probe_bf16;

}  // namespace millrace
