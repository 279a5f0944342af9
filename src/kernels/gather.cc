#include "kernels/gather.h"

#include <algorithm>

namespace millrace::ops {

void gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices, Rows<float> out) {
  const WorkRange share = lane.share(std::ssize(indices));
  for (int64_t i = share.begin; i < share.end; ++i) {
    std::copy_n(in.row(indices[static_cast<size_t>(i)]), in.width, out.row(i));
  }
}

}  // namespace millrace::ops
