#include "server/answer/retry_after.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr int64_t kSecondsMax = 60;

}  // namespace

int64_t retry_after_seconds(const GeneratorStats& stats) {
  const absl::Duration wait = stats.waiting * stats.per_sequence;
  return std::clamp<int64_t>(absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1))), 1,
                             kSecondsMax);
}

}  // namespace millrace
