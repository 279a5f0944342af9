#include "core/token_set.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(TokenSet, HoldsEachTokenOnceInOrder) {
  const TokenSet tokens = {7, 3, 7, 5, 3};
  EXPECT_EQ(std::vector<TokenId>(tokens.begin(), tokens.end()), (std::vector<TokenId>{3, 5, 7}));
  EXPECT_EQ(tokens.largest(), 7);
  EXPECT_TRUE(tokens.contains(5));
  EXPECT_FALSE(tokens.contains(4));
  EXPECT_FALSE(tokens.contains(8));
}

TEST(TokenSet, MayBeEmpty) {
  const TokenSet tokens;
  EXPECT_TRUE(tokens.empty());
  EXPECT_FALSE(tokens.contains(0));
  EXPECT_EQ(tokens.begin(), tokens.end());
  EXPECT_TRUE(TokenSet(std::vector<TokenId>{}).empty());
}

TEST(TokenSet, CopiesShare) {
  const TokenSet tokens = {1, 2};
  const TokenSet copy = tokens;
  EXPECT_EQ(copy.begin(), tokens.begin());
}

}  // namespace
}  // namespace millrace
