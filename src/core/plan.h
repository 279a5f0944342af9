#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/time/time.h>

#include "core/csr.h"
#include "core/draft.h"
#include "core/sequence.h"

namespace millrace {

// The next `known_rows` known tokens of a sequence are computed in this step, and behind them, if
// these are all that it has to compute, a draft.
struct PlannedSlice {
  Sequence* sequence = nullptr;
  int32_t known_rows = 0;
  Range draft = {};  // of Plan::nodes

  bool computes_all() const { return known_rows == sequence->pending(); }
};

// Which sequences compute how many rows in one step.
struct Plan {
  std::vector<PlannedSlice> slices;         // by rank
  std::vector<DraftNode> nodes;             // of all drafts
  std::vector<absl::Duration> draft_times;  // [methods] that proposing took; empty: nothing was
  int32_t rows_left = 0;                    // that the step could compute besides
  int32_t preempted = 0;
  bool short_of_memory = false;  // a sequence got no blocks for its rows, or those of another

  std::span<const DraftNode> draft_of(const PlannedSlice& slice) const {
    return std::span(nodes).subspan(static_cast<size_t>(slice.draft.begin),
                                    static_cast<size_t>(slice.draft.size()));
  }
  void clear() {
    slices.clear();
    nodes.clear();
    draft_times.clear();
    rows_left = 0;
    preempted = 0;
    short_of_memory = false;
  }
};

}  // namespace millrace
