#include "decode/propose/suffix.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr int64_t kMiB = 1 << 20;

// A sequence of one request.
class Asked {
 public:
  Asked(std::vector<TokenId> prompt, std::vector<TokenId> said, uint64_t salt = 0) {
    Request request;
    request.prompt = prompt;
    request.cache_salt = salt;
    sequence_.request = std::make_shared<const Request>(std::move(request));
    sequence_.tokens = std::move(prompt);
    say(std::move(said));
    sequence_.id = {next_id_++};
  }

  void say(const std::vector<TokenId>& tokens) {
    sequence_.tokens.insert(sequence_.tokens.end(), tokens.begin(), tokens.end());
  }
  const Sequence& sequence() const { return sequence_; }

 private:
  inline static int64_t next_id_ = 1;
  Sequence sequence_;
};

DraftSlot drafted_for(SuffixProposer& proposer, const Asked& asked, int32_t nodes_max,
                      int32_t depth_max) {
  DraftSlot slot{.sequence = &asked.sequence(), .nodes_max = nodes_max, .depth_max = depth_max};
  proposer.propose({&slot, 1});
  EXPECT_EQ(slot.nodes.size(), slot.chances.size());
  return slot;
}

std::vector<TokenId> tokens_of(const DraftSlot& slot) {
  std::vector<TokenId> tokens;
  for (const DraftNode& node : slot.nodes) tokens.push_back(node.token);
  return tokens;
}

void answer(SuffixProposer& proposer, const std::vector<TokenId>& said, uint64_t salt = 0) {
  proposer.forget(Asked({1000}, said, salt).sequence());
}

std::vector<double> joint_chances(const DraftSlot& slot) {
  std::vector<double> joint;
  for (size_t i = 0; i < slot.nodes.size(); ++i) {
    const int32_t parent = slot.nodes[i].parent;
    const double before = parent < 0 ? 1 : joint[static_cast<size_t>(parent)];
    joint.push_back(before * static_cast<double>(slot.chances[i]));
  }
  return joint;
}

TEST(Suffix, GoesOnAsTheSequenceItselfDid) {
  SuffixProposer proposer({});
  Asked asked({7, 1, 2, 3, 4, 5}, {9, 1, 2, 3});
  const DraftSlot slot = drafted_for(proposer, asked, 8, 8);
  EXPECT_EQ(tokens_of(slot), (std::vector<TokenId>{4, 5, 9}));  // as many as matched
  EXPECT_EQ(slot.chances, (std::vector<float>{1, 1, 1}));
  asked.say({4, 5});
  EXPECT_EQ(tokens_of(drafted_for(proposer, asked, 8, 8)), (std::vector<TokenId>{9, 1, 2, 3, 4}));
  EXPECT_EQ(tokens_of(drafted_for(proposer, asked, 8, 2)), (std::vector<TokenId>{9, 1}));
  EXPECT_EQ(tokens_of(drafted_for(proposer, asked, 1, 8)), (std::vector<TokenId>{9}));
}

TEST(Suffix, GoesOnAsAnEarlierAnswerDid) {
  SuffixProposer proposer({});
  answer(proposer, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50, 51}, {1, 2, 3}), 8, 8)),
            (std::vector<TokenId>{4, 5, 6}));
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50, 51}, {60}), 8, 8)),
            (std::vector<TokenId>{}));
  // A prompt is none.
  proposer.forget(Asked({20, 21, 22, 23}, {30, 31}).sequence());
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50}, {20, 21}), 8, 8)),
            (std::vector<TokenId>{}));
}

TEST(Suffix, IsATreeWithTheLikelierNodesFirst) {
  SuffixProposer proposer({.nodes_per_match = 4});
  for (int i = 0; i < 3; ++i) answer(proposer, {1, 2, 3, 4});
  for (int i = 0; i < 2; ++i) answer(proposer, {1, 2, 5, 6});
  const DraftSlot slot = drafted_for(proposer, Asked({50}, {1, 2}), 8, 8);
  EXPECT_EQ(tokens_of(slot), (std::vector<TokenId>{3, 4, 5, 6}));
  EXPECT_EQ(leading_chain(slot.nodes), 2);
  EXPECT_EQ(slot.nodes[2].parent, -1);
  EXPECT_EQ(slot.nodes[3].parent, 2);
  EXPECT_FLOAT_EQ(slot.chances[0], 0.6F);
  EXPECT_FLOAT_EQ(slot.chances[1], 1);
  EXPECT_FLOAT_EQ(slot.chances[2], 0.4F);
}

// A prompt of a step's worth and more, for two choices: read in turns.
TEST(Suffix, ALongPromptHoldsNoStepUp) {
  SuffixProposer proposer({});
  std::vector<TokenId> prompt(kTokensReadPerStep - 10, 7);
  const Asked first(prompt, {1, 2, 3, 1, 2}, 0);
  const Asked second(prompt, {1, 2, 4, 1, 2}, 0);
  const auto drafted = [&] {
    DraftSlot slots[] = {{.sequence = &first.sequence(), .nodes_max = 1, .depth_max = 1},
                         {.sequence = &second.sequence(), .nodes_max = 1, .depth_max = 1}};
    proposer.propose(slots);
    return std::pair(tokens_of(slots[0]), tokens_of(slots[1]));
  };
  using Tokens = std::vector<TokenId>;
  EXPECT_EQ(drafted(), std::pair(Tokens{3}, Tokens{}));
  EXPECT_EQ(drafted(), std::pair(Tokens{3}, Tokens{4}));
}

TEST(Suffix, LeavesOutWhatIsUnlikely) {
  SuffixProposer proposer({.nodes_per_match = 10, .chance_min = 0.2});
  for (int i = 0; i < 9; ++i) answer(proposer, {1, 2, 3});
  answer(proposer, {1, 2, 4});
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50}, {1, 2}), 20, 20)),
            (std::vector<TokenId>{3}));
}

TEST(Suffix, PrefersWhatPromisesMore) {
  SuffixProposer proposer({});
  answer(proposer, {1, 2, 3, 4, 5, 6});
  // Its own text has one of the last tokens, the earlier answer three.
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({3, 9}, {1, 2, 3}), 8, 8)),
            (std::vector<TokenId>{4, 5, 6}));
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({0, 1, 2, 3, 9, 8, 7}, {0, 1, 2, 3}), 8, 8)),
            (std::vector<TokenId>{9, 8, 7, 0}));
}

TEST(Suffix, NeverGuessesFromAnotherSalt) {
  SuffixProposer proposer({});
  answer(proposer, {1, 2, 3, 4, 5, 6}, 8);
  EXPECT_TRUE(drafted_for(proposer, Asked({50}, {1, 2, 3}), 8, 8).nodes.empty());
  EXPECT_TRUE(drafted_for(proposer, Asked({50}, {1, 2, 3}, 9), 8, 8).nodes.empty());
  EXPECT_FALSE(drafted_for(proposer, Asked({50}, {1, 2, 3}, 8), 8, 8).nodes.empty());
  answer(proposer, {1, 2, 3, 7, 8, 9}, 9);
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50}, {1, 2, 3}, 8), 8, 8)),
            (std::vector<TokenId>{4, 5, 6}));
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50}, {1, 2, 3}, 9), 8, 8)),
            (std::vector<TokenId>{7, 8, 9}));
}

TEST(Suffix, LearnsNothingFromWhatSaidNothing) {
  SuffixProposer proposer({});
  proposer.forget(Asked({1, 2, 3}, {}).sequence());
  Sequence waiting = Asked({1, 2, 3}, {}).sequence();
  waiting.tokens.clear();
  proposer.forget(waiting);
  SuffixProposer remembers_none({.answers_max = 0});
  answer(remembers_none, {1, 2, 3, 4});
  for (const SuffixProposer* one : {&proposer, &remembers_none}) {
    EXPECT_EQ(one->past().size(), 0);
    EXPECT_EQ(one->past().tree().nodes(), 0);
  }
  EXPECT_TRUE(drafted_for(remembers_none, Asked({50}, {1, 2}), 8, 8).nodes.empty());
}

using Path = std::vector<TokenId>;

// What a sequence that knows nothing earlier may be drafted, from its runs, counted one by one.
struct CountedDraft {
  Path run;  // that is gone on from
  int64_t nodes_max = 0;
  std::map<Path, double> chances;  // by the run and what follows
};

CountedDraft count_draft(const SuffixOptions& options, const Path& tokens, const DraftSlot& slot) {
  std::map<Path, int> counts;
  for (auto begin = tokens.begin(); begin != tokens.end(); ++begin) {
    for (int64_t n = 1; n <= std::min<int64_t>(options.tree_depth, tokens.end() - begin); ++n) {
      ++counts[{begin, begin + n}];
    }
  }
  int32_t matched = 0;
  for (int32_t n = 1; n < std::min<int64_t>(options.tree_depth, std::ssize(tokens)); ++n) {
    if (counts[{tokens.end() - n, tokens.end()}] > 1) matched = n;
  }
  CountedDraft draft;
  draft.nodes_max =
      std::min<int64_t>(slot.nodes_max, static_cast<int64_t>(options.nodes_per_match * matched));
  if (draft.nodes_max == 0) return draft;
  const auto ahead = static_cast<int32_t>(std::min<int64_t>(slot.depth_max, draft.nodes_max));
  const int32_t length =
      std::min(matched, std::max(options.tree_depth - ahead, options.tree_depth / 2));
  draft.run = {tokens.end() - length, tokens.end()};
  draft.chances[draft.run] = 1;
  for (const auto& [path, count] : counts) {
    if (path.size() <= draft.run.size() ||
        std::ssize(path) > std::ssize(draft.run) + slot.depth_max ||
        !std::equal(draft.run.begin(), draft.run.end(), path.begin())) {
      continue;
    }
    const Path parent(path.begin(), path.end() - 1);
    const bool ends = std::ranges::equal(std::span(tokens).last(parent.size()), parent);
    draft.chances[path] = draft.chances[parent] * count / (counts[parent] - (ends ? 1 : 0));
  }
  return draft;
}

// The nodes are different paths, each with its own chance, and no others are likelier.
void expect_likeliest(const CountedDraft& counted, const DraftSlot& slot, double chance_min) {
  std::vector<double> given = joint_chances(slot);
  std::map<Path, int> seen;
  std::vector<Path> paths;
  for (size_t i = 0; i < slot.nodes.size(); ++i) {
    const int32_t parent = slot.nodes[i].parent;
    ASSERT_LT(parent, static_cast<int32_t>(i));
    paths.push_back(parent < 0 ? counted.run : paths[static_cast<size_t>(parent)]);
    paths.back().push_back(slot.nodes[i].token);
    ASSERT_EQ(++seen[paths.back()], 1);
    ASSERT_TRUE(counted.chances.contains(paths.back()));
    ASSERT_NEAR(given[i], counted.chances.at(paths.back()), 1e-5);
  }
  std::vector<double> expected;
  for (const auto& [path, chance] : counted.chances) {
    if (path != counted.run && chance >= chance_min) expected.push_back(chance);
  }
  std::ranges::sort(expected, std::greater());
  expected.resize(std::min(expected.size(), static_cast<size_t>(counted.nodes_max)));
  std::ranges::sort(given, std::greater());
  ASSERT_EQ(given.size(), expected.size());
  for (size_t i = 0; i < given.size(); ++i) ASSERT_NEAR(given[i], expected[i], 1e-5);
}

// The likelier nodes come first.
void expect_ordered(const DraftSlot& slot) {
  const std::vector<double> joint = joint_chances(slot);
  ASSERT_TRUE(
      std::is_sorted(joint.begin(), joint.end(), [](double a, double b) { return a > b + 1e-6; }));
}

TEST(Suffix, DraftsAreTheLikeliestNodesOfTheCounts) {
  std::mt19937_64 dice(17);
  int64_t branches = 0;
  for (int round = 0; round < 500; ++round) {
    const auto letters = dice() % 4 + 1;
    const SuffixOptions options = {.tree_depth = static_cast<int32_t>(dice() % 9 + 2),
                                   .answers_max = 0,
                                   .nodes_per_match = 0.5 * static_cast<double>(dice() % 7 + 1),
                                   .chance_min = 0.03 * static_cast<double>(dice() % 5)};
    SuffixProposer proposer(options);
    Path tokens;
    for (auto n = dice() % 60 + 2; n > 0; --n) {
      tokens.push_back(static_cast<TokenId>(dice() % letters));
    }
    const Asked asked({tokens.front()}, {tokens.begin() + 1, tokens.end()});
    const DraftSlot slot = drafted_for(proposer, asked, static_cast<int32_t>(dice() % 12 + 1),
                                       static_cast<int32_t>(dice() % 12 + 1));
    const CountedDraft counted = count_draft(options, tokens, slot);
    ASSERT_NO_FATAL_FAILURE(expect_likeliest(counted, slot, options.chance_min));
    ASSERT_NO_FATAL_FAILURE(expect_ordered(slot));
    branches += std::ssize(slot.nodes) - leading_chain(slot.nodes);
  }
  EXPECT_GT(branches, 100);
}

TEST(Suffix, MemoryStaysWithinItsBounds) {
  std::mt19937_64 dice(23);
  const SuffixOptions options = {.answers_max = 150, .bytes_max = kMiB};
  SuffixProposer proposer(options);
  int64_t most_answers = 0;
  int64_t most_nodes = 0;
  for (int i = 0; i < 6000; ++i) {
    // Long and short ones, new ones and repeated ones, of few salts and of many.
    const auto letters = i % 1000 < 300 ? 2 : 30000;
    std::vector<TokenId> said;
    for (auto n = dice() % (i % 7 == 0 ? 2000 : 60); n > 0; --n) {
      said.push_back(static_cast<TokenId>(dice() % static_cast<uint64_t>(letters)));
    }
    answer(proposer, said, dice() % (i % 3000 < 1500 ? 3 : 500));
    if (i % 5 == 0 && said.size() > 3) {
      drafted_for(proposer, Asked({50}, {said[0], said[1]}), 8, 8);
    }
    ASSERT_LE(proposer.past().size(), options.answers_max);
    ASSERT_LE(proposer.past().bytes(), options.bytes_max) << "after " << i;
    most_answers = std::max(most_answers, proposer.past().size());
    most_nodes = std::max(most_nodes, proposer.past().tree().nodes());
  }
  proposer.past().tree().check_integrity();
  EXPECT_EQ(most_answers, options.answers_max);
  EXPECT_GT(most_nodes * SuffixTree::bytes_of_nodes(1), kMiB / 2);
  // What cannot fit is not kept.
  const int64_t before = proposer.past().size();
  answer(proposer, Path(100000, 1));
  EXPECT_EQ(proposer.past().size(), before);
}

TEST(Suffix, TheAnswersThatWereLeastRecentlyUsedGo) {
  SuffixProposer proposer({.answers_max = 3});
  answer(proposer, {1, 2, 3});
  answer(proposer, {11, 12, 13});
  answer(proposer, {21, 22, 23});
  EXPECT_EQ(tokens_of(drafted_for(proposer, Asked({50}, {1, 2}), 8, 1)), (std::vector<TokenId>{3}));
  answer(proposer, {31, 32, 33});
  EXPECT_FALSE(drafted_for(proposer, Asked({50}, {1, 2}), 8, 8).nodes.empty());
  EXPECT_TRUE(drafted_for(proposer, Asked({50}, {11, 12}), 8, 8).nodes.empty());
  EXPECT_FALSE(drafted_for(proposer, Asked({50}, {21, 22}), 8, 8).nodes.empty());
  EXPECT_FALSE(drafted_for(proposer, Asked({50}, {31, 32}), 8, 8).nodes.empty());
}

Path drawn(std::mt19937_64& dice, int64_t tokens) {
  Path path;
  for (int64_t i = 0; i < tokens; ++i) path.push_back(static_cast<TokenId>(dice() % 30000));
  return path;
}

// However much others say, in however many salts.
TEST(Suffix, ASaltWithinItsShareLosesNothingToOthers) {
  std::mt19937_64 dice(29);
  for (const SuffixOptions& options :
       {SuffixOptions{.answers_max = 100}, SuffixOptions{.bytes_max = kMiB}}) {
    SuffixProposer proposer(options);
    answer(proposer, {1, 2, 3, 4}, 5);
    for (const uint64_t salts : {1U, 10U}) {
      for (int i = 0; i < 500; ++i) answer(proposer, drawn(dice, 200), 6 + dice() % salts);
      EXPECT_FALSE(drafted_for(proposer, Asked({50}, {1, 2}, 5), 8, 8).nodes.empty());
    }
    // One that adds beyond its share pays itself.
    for (TokenId i = 0; i < 300; ++i) answer(proposer, {100 + i, 101 + i, 102 + i, 103 + i}, 5);
    EXPECT_TRUE(drafted_for(proposer, Asked({50}, {1, 2}, 5), 8, 8).nodes.empty());
  }
}

TEST(Suffix, ALongAnswerTakesNoMoreThanItsSaltsShare) {
  std::mt19937_64 dice(31);
  SuffixProposer proposer({.bytes_max = kMiB});
  const Path long_answer = drawn(dice, 4000);
  for (int i = 0; i < 200; ++i) answer(proposer, drawn(dice, 100), dice() % 8);
  const int64_t before = proposer.past().size();
  answer(proposer, long_answer, 9);
  EXPECT_EQ(proposer.past().size(), before);
  EXPECT_LT(proposer.past().root(9), 0);
  // Not for its own answers either: without them it would still be beyond its share.
  answer(proposer, {1, 2, 3, 4}, 9);
  answer(proposer, long_answer, 9);
  EXPECT_FALSE(drafted_for(proposer, Asked({50}, {1, 2}, 9), 8, 8).nodes.empty());
  // It is all that there is.
  SuffixProposer alone({.bytes_max = kMiB});
  for (int i = 0; i < 200; ++i) answer(alone, drawn(dice, 100), 9);
  answer(alone, long_answer, 9);
  EXPECT_FALSE(
      drafted_for(alone, Asked({50}, {long_answer[0], long_answer[1]}, 9), 8, 8).nodes.empty());
}

}  // namespace
}  // namespace millrace
