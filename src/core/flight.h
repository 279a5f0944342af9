#pragma once

#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "core/draw_order.h"
#include "core/plan.h"
#include "core/verdict.h"

namespace millrace {

// The sequence that a draw is for.
struct DrawTarget {
  Sequence* sequence = nullptr;
  int32_t slice = 0;  // of the plan: its own, or its parent's before it is forked
  int32_t node = -1;  // of the slice's draft, if the row is one of it
};

// One step's data from plan to verdict. Reused, so that a step allocates nothing once its vectors
// have grown.
struct Flight {
  Plan plan;
  Batch batch;
  DrawOrders orders;
  std::vector<DrawTarget> targets;  // [DrawOrders::draws]
  StepOutput output;
  Verdict verdict;

  void clear() {
    plan.clear();
    batch.clear();
    orders.clear();
    targets.clear();
    output.clear();
    verdict.clear();
  }
};

}  // namespace millrace
