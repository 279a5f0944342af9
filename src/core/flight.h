#pragma once

#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "core/choices.h"
#include "core/plan.h"
#include "core/verdict.h"

namespace millrace {

// Who asked for a row of Choices.
struct Asker {
  Sequence* sequence = nullptr;
  int32_t slice = 0;  // of the plan; another sequence's when this one is yet to be forked from it
};

// One step's data from plan to verdict. Reused, so that a step allocates nothing once its vectors
// have grown.
struct Flight {
  Plan plan;
  Batch batch;
  Choices choices;
  std::vector<Asker> askers;  // [Choices::rows]
  StepOutput output;
  Verdict verdict;

  void clear() {
    plan.clear();
    batch.clear();
    choices.clear();
    askers.clear();
    output.clear();
    verdict.clear();
  }
};

}  // namespace millrace
