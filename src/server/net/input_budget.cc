#include "server/net/input_budget.h"

#include <algorithm>

namespace millrace {

int64_t HeldInput::beyond_share(int64_t bytes) {
  return std::max<int64_t>(bytes - InputBudget::kShareBytes, 0);
}

void HeldInput::set(int64_t bytes) {
  budget_.bytes_ += beyond_share(bytes) - beyond_share(bytes_);
  bytes_ = bytes;
}

bool HeldInput::fits() const {
  return beyond_share(bytes_) == 0 || budget_.bytes_ <= budget_.bytes_max_;
}

}  // namespace millrace
