#include "exec/fixed_sequences.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(FixedSequences, RepeatTheFirstOnesBlocks) {
  Capacity capacity = {.groups = {{.block_tokens = 4}, {.kind = KvKind::kState, .block_tokens = 4}},
                       .rows_max = 8,
                       .sequences_max = 2};
  const std::vector<int64_t> units = FixedSequences::units(capacity.groups, 2, 22);
  for (size_t g = 0; g < units.size(); ++g) capacity.groups[g].units = units[g];
  FixedSequences sequences(capacity, 22);
  const TokenId token = 3;
  sequences.add(0, 0, {&token, 1}, SliceWants::kLast);
  sequences.repeat(10, 22);
  std::vector<std::pair<int32_t, int32_t>> copies;
  for (const BlockCopy& copy : sequences.batch().copies) {
    EXPECT_EQ(copy.group, 0);
    copies.emplace_back(copy.from.value, copy.to.value);
  }
  // Two whole blocks, and every other one is the second sequence's.
  EXPECT_EQ(copies, (std::vector<std::pair<int32_t, int32_t>>{{0, 4}, {2, 6}, {0, 8}, {2, 10}}));
}

}  // namespace
}  // namespace millrace
