#include "kv/idle_units.h"

#include "base/check.h"

namespace millrace {

void IdleUnits::add(BlockId unit) {
  CHECK(!contains(unit), "unit {} is idle already", unit);
  link(unit) = {.older = newest_, .newer = {}, .is_idle = true};
  (newest_.valid() ? link(newest_).newer : oldest_) = unit;
  newest_ = unit;
  ++size_;
}

void IdleUnits::remove(BlockId unit) {
  CHECK(contains(unit), "unit {} is not idle", unit);
  const Link self = link(unit);
  (self.older.valid() ? link(self.older).newer : oldest_) = self.newer;
  (self.newer.valid() ? link(self.newer).older : newest_) = self.older;
  link(unit) = {};
  --size_;
}

}  // namespace millrace
