#include "engine/service_rate.h"

#include <algorithm>
#include <cmath>

namespace millrace {
namespace {

constexpr double kFadingS = 30;

}  // namespace

void ServiceRate::add(absl::Duration busy, int64_t departed) {
  const double busy_s = absl::ToDoubleSeconds(busy);
  const double kept = std::exp(-busy_s / kFadingS);
  busy_s_ = busy_s_ * kept + busy_s;
  departed_ = departed_ * kept + static_cast<double>(departed);
}

absl::Duration ServiceRate::per_sequence() const {
  return absl::Seconds(busy_s_ / std::max(departed_, 1.0));
}

}  // namespace millrace
