#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace millrace {

// Units of one group that nobody holds and the prefix tree keeps, in the order in which they came
// to be so.
class IdleUnits {
 public:
  explicit IdleUnits(int64_t units) : links_(static_cast<size_t>(units)) {}

  bool contains(BlockId unit) const { return link(unit).is_idle; }
  BlockId oldest() const { return oldest_; }  // invalid: there is none
  BlockId newer(BlockId unit) const { return link(unit).newer; }
  int32_t size() const { return size_; }

  void add(BlockId unit);     // pre: not idle
  void remove(BlockId unit);  // pre: idle

 private:
  struct Link {
    BlockId older, newer;
    bool is_idle = false;
  };

  Link& link(BlockId unit) { return links_[static_cast<size_t>(unit.value)]; }
  const Link& link(BlockId unit) const { return links_[static_cast<size_t>(unit.value)]; }

  std::vector<Link> links_;  // [units]
  BlockId oldest_, newest_;
  int32_t size_ = 0;
};

}  // namespace millrace
