#include "kernels/isa/avx2/simd.h"
#include "kernels/recurrent/recurrent_kernels.h"

static_assert(millrace::Simd::kLanes == 8);

#include "kernels/generic/math.inc"
#include "kernels/generic/pointwise.inc"
#include "kernels/generic/recurrent/causal_conv.inc"
#include "kernels/generic/recurrent/gates.inc"
#include "kernels/generic/recurrent/matrix_scan.inc"
#include "kernels/generic/recurrent/selective_scan.inc"

namespace millrace {

const RecurrentKernels kAvx2Recurrent = {
    .conv = causal_conv,
    .gate = gate,
    .time_steps = time_steps,
    .scan_add = matrix_scan<MatrixRule::kAdd>,
    .scan_delta = matrix_scan<MatrixRule::kDelta>,
    .scan_read_first = matrix_scan<MatrixRule::kReadFirst>,
    .scan_pair = matrix_scan<MatrixRule::kPair>,
    .selective_scan = selective_scan,
};

}  // namespace millrace
