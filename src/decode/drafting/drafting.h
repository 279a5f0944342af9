#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/plan.h"
#include "decode/propose/proposer.h"

namespace millrace {

// Which proposer drafts for which sequence: the one that its request names, or the first.
class Drafting {
 public:
  // Without proposers nothing is drafted.
  Drafting(const DraftingOptions& options, Proposers proposers)
      : options_(options), proposers_(std::move(proposers)) {}

  // Adds drafts to slices of sequences that have said something and compute all that they know.
  void propose(Plan& plan);
  void forget(const Sequence& sequence);

 private:
  bool may_draft(const PlannedSlice& slice, const Proposer& proposer) const;
  int32_t depth_of(const Sequence& sequence) const;

  DraftingOptions options_;
  Proposers proposers_;
  std::vector<DraftSlot> slots_;
  std::vector<PlannedSlice*> slices_;  // [slots]
};

}  // namespace millrace
