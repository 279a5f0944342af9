#include "exec/fixed_sequences.h"

#include "base/check.h"

namespace millrace {
namespace {

int32_t blocks_of(int32_t tokens, int32_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

}  // namespace

int64_t FixedSequences::blocks(int32_t sequences, int32_t tokens_max, int32_t block_tokens) {
  return int64_t{sequences} * blocks_of(tokens_max, block_tokens);
}

FixedSequences::FixedSequences(const Capacity& capacity, int32_t tokens_max)
    : sequences_(capacity.sequences_max) {
  for (const KvGroup& group : capacity.groups) {
    CHECK(blocks(sequences_, tokens_max, group.block_tokens) <= group.units,
          "{} blocks for {} sequences of {} tokens", group.units, sequences_, tokens_max);
    groups_.push_back({group.block_tokens, blocks_of(tokens_max, group.block_tokens)});
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
  for (size_t g = 0; g < groups_.size(); ++g) {
    const int32_t used = blocks_of(position + rows, groups_[g].block_tokens);
    CHECK(used <= groups_[g].blocks, "position {} is beyond the sequence", position + rows);
    // The sequences' blocks are interleaved, as those of requests that grow side by side are.
    for (int32_t i = 0; i < used; ++i) {
      batch_.tables[g].values.push_back(BlockId{i * sequences_ + sequence});
    }
    batch_.tables[g].close_row();
  }
}

}  // namespace millrace
