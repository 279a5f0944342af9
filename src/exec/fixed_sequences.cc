#include "exec/fixed_sequences.h"

#include "base/check.h"

namespace millrace {
namespace {

// Units that a sequence of so many tokens holds.
int32_t units_of(const KvGroup& group, int32_t tokens) {
  if (group.kind == KvKind::kState) return 1;
  return (tokens + group.block_tokens - 1) / group.block_tokens;
}

}  // namespace

std::vector<int64_t> FixedSequences::units(std::span<const KvGroup> groups, int32_t sequences,
                                           int32_t tokens_max) {
  std::vector<int64_t> units;
  for (const KvGroup& group : groups) {
    units.push_back(sequences * int64_t{units_of(group, tokens_max)});
  }
  return units;
}

FixedSequences::FixedSequences(const Capacity& capacity, int32_t tokens_max)
    : sequences_(capacity.sequences_max), tokens_max_(tokens_max), groups_(capacity.groups) {
  const std::vector<int64_t> needed = units(groups_, sequences_, tokens_max);
  for (size_t g = 0; g < groups_.size(); ++g) {
    CHECK(needed[g] <= groups_[g].units, "{} units for {} sequences of {} tokens", groups_[g].units,
          sequences_, tokens_max);
  }
  batch_.tables.resize(groups_.size());
}

void FixedSequences::add(int32_t sequence, int32_t position, std::span<const TokenId> tokens,
                         SliceWants wants) {
  const auto rows = static_cast<int32_t>(tokens.size());
  const int32_t first = batch_.rows();
  SliceHead head;
  head.sequence = SeqId{sequence};
  head.row = first;
  head.rows = rows;
  batch_.slices.push_back(head);
  for (int32_t i = 0; i < rows; ++i) {
    batch_.tokens.push_back(tokens[static_cast<size_t>(i)]);
    batch_.positions.push_back(position + i);
    batch_.slots.push_back(position + i);
    const bool last = i + 1 == rows;
    if (wants == SliceWants::kAll || (wants == SliceWants::kLast && last)) {
      batch_.wants.push_back(first + i);
    }
  }
  CHECK(position + rows <= tokens_max_, "position {} is beyond the sequence", position + rows);
  for (size_t g = 0; g < groups_.size(); ++g) {
    // The sequences' blocks are interleaved, as those of requests that grow side by side are.
    for (int32_t i = 0; i < units_of(groups_[g], position + rows); ++i) {
      batch_.tables[g].values.push_back(BlockId{i * sequences_ + sequence});
    }
    batch_.tables[g].close_row();
  }
}

void FixedSequences::repeat(int32_t filled, int32_t tokens) {
  for (size_t g = 0; g < groups_.size(); ++g) {
    const KvGroup& group = groups_[g];
    if (group.kind == KvKind::kState) continue;
    const int32_t blocks = filled / group.block_tokens;
    CHECK(blocks > 0, "{} tokens fill no block of {}", filled, group.block_tokens);
    for (int32_t i = blocks; i < units_of(group, tokens); ++i) {
      batch_.copies.push_back({.group = static_cast<int32_t>(g),
                               .from = BlockId{i % blocks * sequences_},
                               .to = BlockId{i * sequences_},
                               .tokens = group.block_tokens});
    }
  }
}

}  // namespace millrace
