#include "core/batch.h"

#include "core/plan.h"

namespace millrace {
namespace {

void add_row(TokenId token, int64_t position, int64_t slot, Batch& batch) {
  batch.tokens.push_back(token);
  batch.positions.push_back(static_cast<int32_t>(position));
  batch.slots.push_back(static_cast<int32_t>(slot));
}

void add_known_rows(const PlannedSlice& slice, Batch& batch) {
  const Sequence& sequence = *slice.sequence;
  for (int64_t at = sequence.computed; at < sequence.computed + slice.known_rows; ++at) {
    if (sequence.wants_row(at)) batch.wants.push_back(batch.rows());
    add_row(sequence.tokens[static_cast<size_t>(at)], at, at, batch);
  }
}

// Every row is wanted: what is drawn from it goes on where the draft agrees.
void add_draft_rows(std::span<const DraftNode> nodes, int64_t known, Batch& batch) {
  batch.parents.resize(batch.tokens.size(), -1);
  const int32_t first = batch.rows();
  for (const DraftNode& node : nodes) {
    const int32_t parent = first + node.parent;
    batch.parents.push_back(parent);
    batch.wants.push_back(batch.rows());
    add_row(node.token, batch.positions[static_cast<size_t>(parent)] + 1,
            known + batch.rows() - first, batch);
  }
}

}  // namespace

void flatten(const Plan& plan, Batch& batch) {
  batch.clear();
  for (const PlannedSlice& slice : plan.slices) {
    const int32_t row = batch.rows();
    add_known_rows(slice, batch);
    if (slice.draft.size() > 0) {
      add_draft_rows(plan.draft_of(slice), slice.sequence->known(), batch);
    }
    batch.slices.push_back({.sequence = slice.sequence->id,
                            .row = row,
                            .rows = slice.known_rows + slice.draft.size(),
                            .draft_rows = slice.draft.size()});
  }
  if (!batch.parents.empty()) batch.parents.resize(batch.tokens.size(), -1);
}

}  // namespace millrace
