#include "core/batch.h"

#include "core/plan.h"

namespace millrace {
namespace {

void add_row(const Sequence& sequence, int64_t position, Batch& batch) {
  if (sequence.wants_row(position)) batch.wants.push_back(batch.rows());
  batch.tokens.push_back(sequence.tokens[static_cast<size_t>(position)]);
  batch.positions.push_back(static_cast<int32_t>(position));
  batch.slots.push_back(static_cast<int32_t>(position));
}

}  // namespace

void flatten(const Plan& plan, Batch& batch) {
  batch.clear();
  for (const PlannedSlice& slice : plan.slices) {
    const Sequence& sequence = *slice.sequence;
    batch.slices.push_back({.sequence = sequence.id, .row = batch.rows(), .rows = slice.rows});
    for (int64_t i = 0; i < slice.rows; ++i) add_row(sequence, sequence.computed + i, batch);
  }
}

}  // namespace millrace
