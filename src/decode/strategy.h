#pragma once

#include "base/ids.h"
#include "core/flight.h"

namespace millrace {

// A way to turn computed rows into known tokens.
class Strategy {
 public:
  virtual ~Strategy() = default;
  // Adds drafts to slices that compute all that their sequences know: optional work, within
  // Plan::rows_left, which the planner may cut.
  virtual void propose(Flight& flight) = 0;
  // What to draw from each wanted row: while the rows are being computed.
  virtual void choose(Flight& flight) = 0;
  // What was drawn becomes known; the verdict says so.
  virtual void accept(Flight& flight) = 0;
  // The sequence has left.
  virtual void forget(const Sequence& sequence) = 0;
};

}  // namespace millrace
