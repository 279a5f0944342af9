#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/draw_order.h"
#include "core/params.h"
#include "core/sequence.h"

namespace millrace {

// What a step did to one sequence.
struct Outcome {
  Sequence* sequence = nullptr;
  Range draws = {};  // of Verdict::draws: the tokens that became known
  Range kept = {};   // of Verdict::kept: the draft's nodes whose tokens they begin with
  FinishReason finish = FinishReason::kNone;
  int32_t stop_string = -1;          // index into StopParams::strings
  RowError error = RowError::kNone;  // if any, nothing was committed and its request fails
};

// `child` begins with everything that `parent` has computed.
struct Fork {
  SeqId parent, child;
};

struct Verdict {
  std::vector<Outcome> outcomes;  // the plan's slices in their order, then the forked children
  std::vector<int32_t> draws;     // of DrawOrders::draws and StepOutput::drawn
  std::vector<int32_t> kept;      // nodes of drafts: a path from its root, where it was agreed with
  std::vector<Fork> forks;

  std::span<const int32_t> kept_of(const Outcome& outcome) const {
    return std::span(kept).subspan(static_cast<size_t>(outcome.kept.begin),
                                   static_cast<size_t>(outcome.kept.size()));
  }
  void clear() {
    outcomes.clear();
    draws.clear();
    kept.clear();
    forks.clear();
  }
};

}  // namespace millrace
