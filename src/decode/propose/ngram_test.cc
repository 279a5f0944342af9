#include "decode/propose/ngram.h"

#include <random>

#include <gtest/gtest.h>

namespace millrace {
namespace {

Sequence knowing(std::vector<TokenId> tokens) {
  Sequence sequence;
  sequence.id = {1};
  sequence.tokens = std::move(tokens);
  return sequence;
}

std::vector<TokenId> drafted(NgramProposer& proposer, const Sequence& sequence, int32_t depth_max) {
  DraftSlot slot{.sequence = &sequence, .nodes_max = 100, .depth_max = depth_max};
  proposer.propose({&slot, 1});
  EXPECT_EQ(leading_chain(slot.nodes), std::ssize(slot.nodes));
  std::vector<TokenId> tokens;
  for (const DraftNode& node : slot.nodes) tokens.push_back(node.token);
  return tokens;
}

TEST(Ngram, GoesOnAsItDidWhenTheLastTokensCameBefore) {
  NgramProposer proposer({.match_min = 2, .match_max = 3});
  const Sequence sequence = knowing({1, 2, 3, 4, 5, 6, 2, 3});
  EXPECT_EQ(drafted(proposer, sequence, 3), (std::vector<TokenId>{4, 5, 6}));
}

TEST(Ngram, PrefersTheLongestMatchAndThenTheLatest) {
  NgramProposer longest({.match_min = 1, .match_max = 3});
  EXPECT_EQ(drafted(longest, knowing({1, 2, 3, 7, 9, 3, 8, 1, 2, 3}), 1),
            (std::vector<TokenId>{7}));
  NgramProposer latest({.match_min = 1, .match_max = 2});
  EXPECT_EQ(drafted(latest, knowing({5, 6, 7, 9, 5, 6, 8, 9, 5, 6}), 1), (std::vector<TokenId>{8}));
}

TEST(Ngram, SaysNothingWhereTheLastTokensAreNew) {
  NgramProposer proposer({.match_min = 2, .match_max = 4});
  EXPECT_EQ(drafted(proposer, knowing({1}), 4), (std::vector<TokenId>{}));
  EXPECT_EQ(drafted(proposer, knowing({1, 2, 3, 2}), 4), (std::vector<TokenId>{}));
}

TEST(Ngram, WhatRepeatsItselfGoesOnInItsOwnGuess) {
  NgramProposer proposer({.match_min = 2, .match_max = 2});
  EXPECT_EQ(drafted(proposer, knowing({1, 2, 3, 1, 2, 3, 1, 2}), 7),
            (std::vector<TokenId>{3, 1, 2, 3, 1, 2, 3}));
}

TEST(Ngram, ALongPromptHoldsNoStepUp) {
  NgramProposer proposer({.match_min = 2, .match_max = 2});
  std::vector<TokenId> tokens = {1, 2, 3};
  tokens.resize(kTokensReadPerStep, 7);
  tokens.insert(tokens.end(), {1, 2});
  const Sequence sequence = knowing(tokens);
  EXPECT_EQ(drafted(proposer, sequence, 1), (std::vector<TokenId>{}));
  EXPECT_EQ(drafted(proposer, sequence, 1), (std::vector<TokenId>{3}));
}

// Beside a search through all tokens, as a sequence grows.
TEST(Ngram, FindsWhatASearchFinds) {
  std::mt19937_64 dice(7);
  const NgramOptions options = {.match_min = 2, .match_max = 4};
  for (int round = 0; round < 20; ++round) {
    NgramIndex index(options);
    std::vector<TokenId> tokens;
    while (tokens.size() < 120) {
      for (auto n = dice() % 3 + 1; n > 0; --n) tokens.push_back(static_cast<TokenId>(dice() % 3));
      index.grow(tokens);
      int64_t expected = -1;
      const auto size = std::ssize(tokens);
      for (int64_t length = options.match_min; length <= options.match_max; ++length) {
        for (int64_t end = size - 1; end >= length; --end) {
          if (!std::equal(tokens.end() - length, tokens.end(), tokens.begin() + end - length)) {
            continue;
          }
          expected = end;
          break;
        }
      }
      ASSERT_EQ(index.continuation(), expected) << "after " << size << " tokens";
    }
  }
}

}  // namespace
}  // namespace millrace
