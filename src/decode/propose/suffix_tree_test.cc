#include "decode/propose/suffix_tree.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

// What a tree says, counted one by one.
struct CountedTexts {
  int32_t depth_max = 0;
  std::map<int32_t, Tokens> texts = {};  // by the tree's name, which may be used again
  std::vector<int32_t> order = {};       // of them

  std::map<Tokens, int32_t> runs() const {
    std::map<Tokens, int32_t> counts;
    for (const auto& [text, tokens] : texts) {
      for (auto begin = tokens.begin(); begin != tokens.end(); ++begin) {
        for (int64_t n = 1; n <= std::min<int64_t>(depth_max, tokens.end() - begin); ++n) {
          ++counts[Tokens(begin, begin + n)];
        }
      }
    }
    return counts;
  }
  // How far back of the newest text the last one is that has the run, and behind which token.
  std::pair<int64_t, int64_t> last_seen(const Tokens& run) const {
    for (int64_t i = std::ssize(order) - 1; i >= 0; --i) {
      const Tokens& tokens = texts.at(order[static_cast<size_t>(i)]);
      const auto at = std::find_end(tokens.begin(), tokens.end(), run.begin(), run.end());
      if (at != tokens.end()) return {i, at - tokens.begin() + std::ssize(run)};
    }
    return {-1, -1};
  }
};

Tokens longer(Tokens run, TokenId token) {
  run.push_back(token);
  return run;
}

std::map<TokenId, int32_t> continued(const std::map<Tokens, int32_t>& runs, const Tokens& run) {
  std::map<TokenId, int32_t> next;
  for (auto at = runs.upper_bound(run); at != runs.end(); ++at) {
    if (!std::equal(run.begin(), run.end(), at->first.begin(),
                    at->first.begin() + std::min(std::ssize(run), std::ssize(at->first)))) {
      break;
    }
    if (at->first.size() == run.size() + 1) next[at->first.back()] = at->second;
  }
  return next;
}

void expect_same(const SuffixTree& tree, int32_t root, const CountedTexts& counted,
                 int64_t other_nodes) {
  tree.check_integrity();
  const std::map<Tokens, int32_t> runs = counted.runs();
  int64_t nodes = 1;
  std::vector<SuffixTree::Continuation> next;
  for (const auto& [run, count] : runs) {
    const auto place = tree.find(root, run);
    ASSERT_TRUE(place);
    EXPECT_EQ(tree.count(*place), count);
    const auto [newest, end] = counted.last_seen(run);
    EXPECT_EQ(tree.text_of(*place), counted.order[static_cast<size_t>(newest)]);
    next.clear();
    tree.continuations(*place, 100, next);
    std::map<TokenId, int32_t> given;
    for (const SuffixTree::Continuation& one : next) {
      given[one.token] = one.count;
      EXPECT_EQ(one.place, *tree.find(root, longer(run, one.token)));
    }
    const std::map<TokenId, int32_t> expected = continued(runs, run);
    ASSERT_EQ(given, expected);
    EXPECT_TRUE(std::ranges::is_sorted(next, std::greater(), &SuffixTree::Continuation::count));
    bool ends_a_label = true;
    for (const auto& [token, further] : expected) ends_a_label &= further < count;
    if (ends_a_label) ++nodes;
  }
  EXPECT_EQ(tree.nodes(), nodes + other_nodes);
}

int32_t longest_that_goes_on(const CountedTexts& counted, const Tokens& tokens) {
  const std::map<Tokens, int32_t> runs = counted.runs();
  for (int32_t length = counted.depth_max - 1; length > 0; --length) {
    if (length > std::ssize(tokens)) continue;
    if (!continued(runs, Tokens(tokens.end() - length, tokens.end())).empty()) return length;
  }
  return 0;
}

TEST(SuffixTree, CountsWhatASearchCountsAsATextGrows) {
  std::mt19937_64 dice(3);
  for (int round = 0; round < 40; ++round) {
    const auto depth_max = static_cast<int32_t>(dice() % 7 + 1);
    const auto letters = dice() % 3 + 1;
    SuffixTree tree(depth_max);
    const int32_t root = tree.add_root();
    CountedTexts counted{.depth_max = depth_max};
    const int32_t text = tree.add_text(root);
    counted.order = {text};
    Tokens& tokens = counted.texts[text];
    for (int i = 0; i < 40; ++i) {
      tokens.push_back(static_cast<TokenId>(dice() % letters));
      tree.append(tokens.back());
      ASSERT_EQ(tree.length(), std::ssize(tokens));
      expect_same(tree, root, counted, 0);
      ASSERT_EQ(tree.repeated(), longest_that_goes_on(counted, tokens));
      for (int32_t n = 1; n <= std::min<int64_t>(depth_max, std::ssize(tokens)); ++n) {
        ASSERT_EQ(tree.ending(n), *tree.find(root, std::span(tokens).last(static_cast<size_t>(n))));
        ASSERT_TRUE(tree.is_ending(tree.ending(n), n));
        ASSERT_FALSE(tree.is_ending(tree.ending(n), n + 1));
      }
    }
  }
}

// Two roots, whose texts come and go, the oldest of a root first.
TEST(SuffixTree, IsAfterEachRemovalWhatTheTextsThatAreLeftMakeIt) {
  std::mt19937_64 dice(5);
  for (int round = 0; round < 60; ++round) {
    const auto depth_max = static_cast<int32_t>(dice() % 8 + 1);
    const auto letters = dice() % 4 + 1;
    SuffixTree tree(depth_max);
    const int32_t roots[] = {tree.add_root(), tree.add_root()};
    CountedTexts counted[] = {{.depth_max = depth_max}, {.depth_max = depth_max}};
    for (int i = 0; i < 40; ++i) {
      const size_t side = dice() % 2;
      CountedTexts& own = counted[side];
      if (dice() % 5 < 3 || own.order.empty()) {
        const int32_t text = tree.add_text(roots[side]);
        own.order.push_back(text);
        Tokens& tokens = own.texts[text] = {};
        for (auto n = dice() % 15; n > 0; --n) {
          tokens.push_back(static_cast<TokenId>(dice() % letters));
          tree.append(tokens.back());
        }
        tree.finish_text();
      } else {
        EXPECT_EQ(tree.remove_text(own.order.front()), own.texts.at(own.order.front()));
        own.texts.erase(own.order.front());
        own.order.erase(own.order.begin());
      }
      const int64_t nodes = tree.nodes();
      SuffixTree fresh(depth_max);
      const int32_t root = fresh.add_root();
      for (const int32_t text : counted[1 - side].order) {
        fresh.add_text(root);
        for (const TokenId token : counted[1 - side].texts[text]) fresh.append(token);
      }
      expect_same(tree, roots[side], own, fresh.nodes());
      EXPECT_EQ(tree.nodes(), nodes);
    }
    for (size_t side = 0; side < 2; ++side) {
      for (const int32_t text : counted[side].order) tree.remove_text(text);
      tree.remove_root(roots[side]);
    }
    EXPECT_EQ(tree.nodes(), 0);
  }
}

TEST(SuffixTree, MatchesTheLongestEndThatGoesOn) {
  std::mt19937_64 dice(11);
  for (int round = 0; round < 50; ++round) {
    SuffixTree tree(6);
    const int32_t root = tree.add_root();
    CountedTexts counted{.depth_max = 6};
    for (int i = 0; i < 3; ++i) {
      const int32_t text = tree.add_text(root);
      counted.order.push_back(text);
      for (int n = 0; n < 12; ++n) {
        counted.texts[text].push_back(static_cast<TokenId>(dice() % 4));
        tree.append(counted.texts[text].back());
      }
      tree.finish_text();
    }
    for (int i = 0; i < 20; ++i) {
      Tokens tokens;
      for (auto n = dice() % 12; n > 0; --n) tokens.push_back(static_cast<TokenId>(dice() % 4));
      EXPECT_EQ(tree.match(root, tokens), longest_that_goes_on(counted, tokens));
    }
  }
}

TEST(SuffixTree, KnowsWhichContinuationCameLast) {
  SuffixTree tree(3);
  const int32_t root = tree.add_root();
  std::mt19937_64 dice(2);
  CountedTexts counted{.depth_max = 3};
  for (int i = 0; i < 4; ++i) {
    const int32_t text = tree.add_text(root);
    counted.order.push_back(text);
    for (int n = 0; n < 20; ++n) {
      counted.texts[text].push_back(static_cast<TokenId>(dice() % 4));
      tree.append(counted.texts[text].back());
    }
  }
  std::vector<SuffixTree::Continuation> next;
  for (const auto& [run, count] : counted.runs()) {
    next.clear();
    tree.continuations(*tree.find(root, run), 100, next);
    for (const auto& one : next) {
      for (const auto& other : next) {
        EXPECT_EQ(one.recency < other.recency, counted.last_seen(longer(run, one.token)) <
                                                   counted.last_seen(longer(run, other.token)));
      }
    }
  }
}

// What repeats itself takes a node for each of its lengths, and what does not, two a token at most.
TEST(SuffixTree, TakesTwoNodesATokenAtMost) {
  std::mt19937_64 dice(13);
  for (const uint64_t letters : {1U, 2U, 10U, 1000U}) {
    SuffixTree tree(24);
    const int32_t root = tree.add_root();
    for (int i = 0; i < 10; ++i) {
      tree.add_text(root);
      for (int n = 0; n < 500; ++n) {
        tree.append(static_cast<TokenId>(dice() % letters));
        ASSERT_LE(tree.nodes(), 1 + 2 * (500 * i + n + 1));
      }
    }
    tree.check_integrity();
  }
}

}  // namespace
}  // namespace millrace
