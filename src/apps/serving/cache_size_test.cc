#include "apps/serving/cache_size.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr KvGroup kWhole = {.block_tokens = 16, .window = 0, .unit_bytes = 1000};
constexpr KvGroup kWindow = {.block_tokens = 16, .window = 64, .unit_bytes = 3000};
constexpr KvGroup kState = {.kind = KvKind::kState, .block_tokens = 16, .unit_bytes = 50'000};

// Of four sequences of 1,600 tokens the window group holds (63 + 32 + 14) / 16 + 1 blocks each.
constexpr CacheOrder kOrder = {.sequences = 4, .context = 1600, .rows = 32};
constexpr int64_t kWholeBlocks = 4 * 100;
constexpr int64_t kWindowBlocks = 4 * 7;

CacheSize divided(std::vector<KvGroup> groups, int64_t bytes, bool all_of_it = false,
                  bool prefix_caching = true) {
  CacheOrder order = kOrder;
  order.bytes = bytes;
  order.all_of_it = all_of_it;
  order.prefix_caching = prefix_caching;
  const auto size = divide_cache(groups, order, "what there is");
  EXPECT_TRUE(size.ok()) << size.status();
  int64_t sum = 0;
  for (size_t i = 0; i < groups.size(); ++i) sum += size->units[i] * groups[i].unit_bytes;
  EXPECT_EQ(size->bytes, sum);
  EXPECT_LE(size->bytes, bytes);
  return *size;
}

TEST(DivideCache, AllSequencesAtTheirLongestAreEnough) {
  EXPECT_THAT(divided({kWhole}, 10'000'000).units, ElementsAre(kWholeBlocks));
  EXPECT_FALSE(divided({kWhole}, 400'000).limited);
  EXPECT_THAT(divided({kWhole}, 10'000'000, true).units, ElementsAre(10'000));
}

TEST(DivideCache, AWindowGetsWhatItCanUseAndAsMuchAgainForPrompts) {
  EXPECT_THAT(divided({kWhole, kWindow}, 10'000'000).units,
              ElementsAre(kWholeBlocks, 2 * kWindowBlocks));
  EXPECT_THAT(divided({kWhole, kWindow}, 10'000'000, false, false).units,
              ElementsAre(kWholeBlocks, kWindowBlocks));
  EXPECT_THAT(divided({kWindow}, 10'000'000, true).units, ElementsAre(2 * kWindowBlocks));
  // All but half of the second share.
  const CacheSize some = divided({kWhole, kWindow}, 400'000 + 28 * 3000 + 14 * 3000);
  EXPECT_FALSE(some.limited);
  EXPECT_THAT(some.units, ElementsAre(kWholeBlocks, kWindowBlocks + 14));
}

TEST(DivideCache, TooLittleMemoryShortensTheLongest) {
  const CacheSize short_of_whole = divided({kWhole, kWindow}, 28 * 3000 + 50'500);
  EXPECT_TRUE(short_of_whole.limited);
  EXPECT_THAT(short_of_whole.units, ElementsAre(50, kWindowBlocks));
  EXPECT_THAT(divided({kWhole, kWindow}, 41'000).units, ElementsAre(10, 10));
}

TEST(DivideCache, StatesComeFirst) {
  EXPECT_THAT(divided({kState}, 100'000'000).units, ElementsAre(4 + 24));
  EXPECT_THAT(divided({kState}, 100'000'000, true, false).units, ElementsAre(4));
  // An eighth of the memory holds five states more.
  EXPECT_THAT(divided({kState, kWhole}, 2'000'000).units, ElementsAre(4 + 5, kWholeBlocks));
  // Half of the memory holds two, an eighth none.
  const CacheSize few = divided({kWhole, kState}, 230'000);
  EXPECT_TRUE(few.limited);
  EXPECT_THAT(few.units, ElementsAre(130, 2));
}

TEST(DivideCache, RefusesWhatDoesNotFit) {
  CacheOrder order = kOrder;
  order.bytes = 3'999;
  const std::vector<KvGroup> groups = {kWhole, kWindow};
  const absl::Status none = divide_cache(groups, order, "what there is").status();
  EXPECT_TRUE(absl::IsResourceExhausted(none));
  EXPECT_THAT(std::string(message_of(none)),
              HasSubstr("what there is hold no block of 1000 B (all tokens)"));
  const std::vector<KvGroup> states = {kState};
  const absl::Status no_state = divide_cache(states, order, "what there is").status();
  EXPECT_TRUE(absl::IsResourceExhausted(no_state));
  EXPECT_THAT(std::string(message_of(no_state)), HasSubstr("hold no state of 48.8 KiB (states)"));
  order.bytes = std::numeric_limits<int64_t>::max() / 4;
  order.all_of_it = true;
  const std::vector<KvGroup> whole = {kWhole};
  EXPECT_TRUE(absl::IsInvalidArgument(divide_cache(whole, order, "").status()));
  order.context = std::numeric_limits<int64_t>::max() / 2;
  order.all_of_it = false;
  EXPECT_TRUE(absl::IsInvalidArgument(divide_cache(whole, order, "").status()));
}

CacheSizes shared(int64_t bytes, bool all_of_it) {
  CacheOrder order = kOrder;
  order.bytes = bytes;
  order.all_of_it = all_of_it;
  const KvGroup small = {.block_tokens = 16, .unit_bytes = 250};
  const auto sizes = divide_caches({&kWhole, 1}, {&small, 1}, order, "what there is");
  EXPECT_TRUE(sizes.ok()) << sizes.status();
  EXPECT_LE(sizes->first.bytes + sizes->second.bytes, bytes);
  return *sizes;
}

TEST(DivideCaches, BothHoldEverySequenceWhereTheyCan) {
  for (const bool all_of_it : {false, true}) {
    const CacheSizes sizes = shared(10'000'000, all_of_it);
    EXPECT_THAT(sizes.second.units, ElementsAre(kWholeBlocks));
    EXPECT_THAT(sizes.first.units, ElementsAre(all_of_it ? 10'000 - 100 : kWholeBlocks));
    EXPECT_FALSE(sizes.first.limited || sizes.second.limited);
  }
  EXPECT_FALSE(shared(kWholeBlocks * 1250, true).second.limited);
}

TEST(DivideCaches, InLessMemoryTheyHoldAsManyTokens) {
  for (const bool all_of_it : {false, true}) {
    const CacheSizes sizes = shared(125'000, all_of_it);
    EXPECT_THAT(sizes.first.units, ElementsAre(100));
    EXPECT_THAT(sizes.second.units, ElementsAre(100));
    EXPECT_TRUE(sizes.first.limited && sizes.second.limited);
  }
  const KvGroup small = {.block_tokens = 16, .unit_bytes = 250};
  CacheOrder order = kOrder;
  order.bytes = 1000;
  EXPECT_EQ(divide_caches({&kWhole, 1}, {&small, 1}, order, "it").status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace millrace
