#include "decode/propose/draft_model.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "tests/fixtures/engine/scripted_model.h"

namespace millrace {
namespace {

struct DrafterShape {
  ScriptedModel model = {.vocab = 6};
  int32_t block_tokens = 4;
  int64_t blocks = 100;
  int32_t rows_max = 64;
  int32_t sequences_max = 8;
};

// A draft model and sequences that grow as its target would let them.
class Drafter {
 public:
  explicit Drafter(const DrafterShape& shape, DraftModelOptions options = {})
      : model_(shape.model),
        executor_(shape.model, shape.block_tokens, shape.blocks, shape.rows_max,
                  shape.sequences_max) {
    options.vocab_size = model_.vocab;
    if (options.tokens_known == 0) options.tokens_known = model_.vocab;
    proposer_ = std::make_unique<DraftModelProposer>(options, executor_, clock_);
  }

  Sequence& arrive(std::vector<TokenId> prompt, uint64_t salt = 0) {
    Request request;
    request.prompt = std::move(prompt);
    request.cache_salt = salt;
    request.prompt_logprobs = 1;
    Sequence& sequence = sequences_.emplace_back();
    sequence.id = {std::ssize(sequences_)};
    sequence.tokens = request.prompt;
    sequence.request = std::make_shared<const Request>(std::move(request));
    return sequence;
  }

  std::vector<DraftSlot> propose(const std::vector<const Sequence*>& sequences, int32_t depth,
                                 int32_t nodes) {
    std::vector<DraftSlot> slots;
    for (const Sequence* sequence : sequences) {
      slots.push_back({.sequence = sequence, .nodes_max = nodes, .depth_max = depth});
    }
    proposer_->propose(slots);
    proposer_->ledger().check_integrity();
    for (const DraftSlot& slot : slots) check(slot);
    return slots;
  }
  DraftSlot propose(const Sequence& sequence, int32_t depth, int32_t nodes) {
    return propose({&sequence}, depth, nodes)[0];
  }

  std::vector<double> logprobs(const std::vector<TokenId>& tokens) const {
    const std::vector<float> logits = model_.logits(model_.prefix(tokens));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    std::vector<double> out;
    for (const float logit : logits) out.push_back(logit - std::log(sum));
    return out;
  }
  // The model's own next tokens, each its likeliest.
  std::vector<TokenId> greedy(std::vector<TokenId> tokens, int32_t count) const {
    std::vector<TokenId> out;
    while (std::ssize(out) < count) {
      const std::vector<double> all = logprobs(tokens);
      out.push_back(static_cast<TokenId>(std::ranges::max_element(all) - all.begin()));
      tokens.push_back(out.back());
    }
    return out;
  }
  static std::vector<TokenId> path_to(const DraftSlot& slot, int32_t node) {
    std::vector<TokenId> path = slot.sequence->tokens;
    const auto known = path.size();
    for (; node >= 0; node = slot.nodes[static_cast<size_t>(node)].parent) {
      path.insert(path.begin() + static_cast<std::ptrdiff_t>(known),
                  slot.nodes[static_cast<size_t>(node)].token);
    }
    return path;
  }

  ScriptedModel model_;
  ScriptedExecutor executor_;
  ManualClock clock_;
  std::unique_ptr<DraftModelProposer> proposer_;
  std::deque<Sequence> sequences_;

 private:
  // Each node is as likely as the model says, whatever the cache holds of other drafts.
  void check(const DraftSlot& slot) const {
    ASSERT_EQ(slot.nodes.size(), slot.chances.size());
    ASSERT_LE(std::ssize(slot.nodes), slot.nodes_max);
    for (int32_t i = 0; i < std::ssize(slot.nodes); ++i) {
      const DraftNode& node = slot.nodes[static_cast<size_t>(i)];
      ASSERT_LT(node.parent, i);
      const std::vector<TokenId> before = path_to(slot, node.parent);
      ASSERT_LE(std::ssize(before), slot.sequence->known() + slot.depth_max - 1);
      const double expected = std::exp(logprobs(before)[static_cast<size_t>(node.token)]);
      ASSERT_NEAR(slot.chances[static_cast<size_t>(i)], expected, 1e-5) << "node " << i;
    }
  }
};

std::vector<TokenId> tokens_of(const DraftSlot& slot) {
  std::vector<TokenId> tokens;
  for (const DraftNode& node : slot.nodes) tokens.push_back(node.token);
  return tokens;
}

TEST(DraftModel, SaysWhatItsModelWouldSayAndComputesARowATokenAtMost) {
  Drafter drafter({});
  Sequence& sequence = drafter.arrive({1, 2, 3, 4, 5, 1, 2});
  DraftSlot slot = drafter.propose(sequence, 4, 8);
  EXPECT_EQ(tokens_of(slot), drafter.greedy(sequence.tokens, 4));
  EXPECT_EQ(leading_chain(slot.nodes), 4);
  EXPECT_EQ(drafter.executor_.rows_computed(), 7 + 3);
  // All but the last of them came, and another token.
  const std::vector<TokenId> came = tokens_of(slot);
  sequence.tokens.insert(sequence.tokens.end(), came.begin(), came.end() - 1);
  sequence.tokens.push_back((came.back() + 1) % 6);
  slot = drafter.propose(sequence, 4, 8);
  EXPECT_EQ(tokens_of(slot), drafter.greedy(sequence.tokens, 4));
  EXPECT_EQ(drafter.executor_.rows_computed(), 7 + 3 + 1 + 3);
  // None of them came.
  sequence.tokens.push_back((slot.nodes[0].token + 1) % 6);
  slot = drafter.propose(sequence, 2, 8);
  EXPECT_EQ(tokens_of(slot), drafter.greedy(sequence.tokens, 2));
  EXPECT_EQ(drafter.executor_.rows_computed(), 7 + 3 + 1 + 3 + 1 + 1);
}

TEST(DraftModel, IsAsDeepAsItMayBeAndHasAsManyNodes) {
  Drafter drafter({});
  const Sequence& sequence = drafter.arrive({1, 2, 3});
  EXPECT_EQ(drafter.propose(sequence, 1, 8).nodes.size(), 1U);
  EXPECT_EQ(drafter.executor_.rows_computed(), 3);
  EXPECT_EQ(drafter.propose(sequence, 9, 3).nodes.size(), 3U);
}

// What level growth gives when nothing is left out because it cannot be kept: joint logarithms of
// the best nodes.
std::vector<double> naive_growth(const Drafter& drafter, const std::vector<TokenId>& known,
                                 int32_t width, int32_t depth, int32_t nodes) {
  struct Path {
    std::vector<TokenId> tokens;
    double joint = 0;
    bool grown = false;
  };
  std::vector<Path> all = {{known}};
  for (int32_t level = 0; level < depth; ++level) {
    std::vector<size_t> frontier;
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].grown && std::ssize(all[i].tokens) < std::ssize(known) + depth) {
        frontier.push_back(i);
      }
    }
    std::ranges::stable_sort(frontier, std::greater(), [&](size_t i) { return all[i].joint; });
    frontier.resize(std::min(frontier.size(), static_cast<size_t>(width)));
    for (const size_t i : frontier) {
      all[i].grown = true;
      const std::vector<double> logprobs = drafter.logprobs(all[i].tokens);
      std::vector<TokenId> order(logprobs.size());
      std::iota(order.begin(), order.end(), 0);
      std::ranges::stable_sort(order, std::greater(),
                               [&](TokenId t) { return logprobs[static_cast<size_t>(t)]; });
      for (const TokenId token : std::span(order).first(static_cast<size_t>(width))) {
        Path child = {all[i].tokens, all[i].joint + logprobs[static_cast<size_t>(token)]};
        child.tokens.push_back(token);
        all.push_back(std::move(child));
      }
    }
  }
  std::vector<double> joints;
  for (const Path& path : std::span(all).subspan(1)) joints.push_back(path.joint);
  std::ranges::sort(joints, std::greater());
  joints.resize(std::min(joints.size(), static_cast<size_t>(nodes)));
  return joints;
}

TEST(DraftModel, KeepsTheBestOfATreeAndComputesNothingThatCannotBeAmongThem) {
  std::mt19937_64 dice(5);
  for (int round = 0; round < 40; ++round) {
    const auto width = static_cast<int32_t>(dice() % 3 + 2);
    const auto depth = static_cast<int32_t>(dice() % 4 + 1);
    const auto nodes = static_cast<int32_t>(dice() % 12 + 1);
    Drafter drafter({.model = {.vocab = 6, .seed = dice() % 100}}, {.tree_width = width});
    const Sequence& sequence = drafter.arrive({1, 2, 3, 1});
    const DraftSlot slot = drafter.propose(sequence, depth, nodes);
    std::vector<double> joints;
    for (size_t i = 0; i < slot.nodes.size(); ++i) {
      const int32_t parent = slot.nodes[i].parent;
      joints.push_back((parent < 0 ? 0 : joints[static_cast<size_t>(parent)]) +
                       std::log(slot.chances[i]));
    }
    EXPECT_TRUE(std::ranges::is_sorted(joints, std::greater()));
    EXPECT_EQ(slot.nodes[0].token, drafter.greedy(sequence.tokens, 1)[0]);
    std::ranges::sort(joints, std::greater());
    const std::vector<double> expected =
        naive_growth(drafter, sequence.tokens, width, depth, nodes);
    ASSERT_EQ(joints.size(), expected.size());
    for (size_t i = 0; i < joints.size(); ++i) EXPECT_NEAR(joints[i], expected[i], 1e-4);
  }
  Drafter one_node({}, {.tree_width = 3});
  one_node.propose(one_node.arrive({1, 2}), 4, 1);
  EXPECT_EQ(one_node.executor_.rows_computed(), 2);
}

TEST(DraftModel, ReadsALongPromptInSeveralStepsWhileOthersAreDraftedFor) {
  Drafter drafter({.rows_max = 8});
  const Sequence& longer = drafter.arrive(std::vector<TokenId>(20, 3));
  const Sequence& shorter = drafter.arrive({1, 2});
  for (int step = 0; step < 4; ++step) {
    const auto slots = drafter.propose({&longer, &shorter}, 2, 2);
    EXPECT_EQ(slots[1].nodes.size(), 2U);
    EXPECT_EQ(slots[0].nodes.size(), step < 2 ? 0U : 2U) << step;
  }
}

TEST(DraftModel, WhatIsShortOfMemoryGoesWithoutUntilOthersLeave) {
  Drafter drafter({.blocks = 4});
  const Sequence& first = drafter.arrive({1, 2, 3, 4, 5, 1, 2, 3, 4});
  Sequence& second = drafter.arrive({5, 4, 3, 2, 1});
  EXPECT_EQ(drafter.propose({&first, &second}, 2, 2)[1].nodes.size(), 0U + 2U);
  EXPECT_EQ(drafter.propose({&first, &second}, 2, 2)[0].nodes.size(), 0U);
  drafter.proposer_->forget(second);
  EXPECT_EQ(drafter.propose({&first}, 2, 2)[0].nodes.size(), 2U);
  drafter.proposer_->forget(first);
  EXPECT_EQ(drafter.proposer_->ledger().held(0), 0);
}

TEST(DraftModel, SequencesThatAreNotAskedForLeaveTheirRoomToOthers) {
  Drafter drafter({.blocks = 4});
  const Sequence& first = drafter.arrive({1, 2, 3, 4, 5, 1, 2, 3, 4});
  const Sequence& second = drafter.arrive({5, 4, 3, 2, 1});
  EXPECT_EQ(drafter.propose(first, 2, 2).nodes.size(), 2U);
  EXPECT_EQ(drafter.propose(second, 2, 2).nodes.size(), 2U);
  EXPECT_EQ(drafter.propose(first, 2, 2).nodes.size(), 2U);
}

TEST(DraftModel, LaterTurnsBeginWithWhatEarlierOnesLeftUnderTheSameSalt) {
  Drafter drafter({});
  Sequence& turn = drafter.arrive(std::vector<TokenId>(16, 2), 7);
  drafter.propose(turn, 2, 2);
  for (int i = 0; i < 8; ++i) turn.tokens.push_back(1);
  drafter.propose(turn, 2, 2);
  drafter.proposer_->forget(turn);
  const auto rows_of = [&](uint64_t salt) {
    const int64_t before = drafter.executor_.rows_computed();
    drafter.propose(drafter.arrive(turn.tokens, salt), 1, 1);
    return drafter.executor_.rows_computed() - before;
  };
  EXPECT_EQ(rows_of(7), 4);  // the last token was not stored with certainty, nor its block's others
  EXPECT_EQ(rows_of(8), 24);
}

TEST(DraftModel, ChoicesOfOnePromptComputeItOnce) {
  Drafter drafter({});
  const std::vector<TokenId> prompt(32, 3);
  const Sequence& one = drafter.arrive(prompt);
  const Sequence& other = drafter.arrive(prompt);
  drafter.propose({&one, &other}, 1, 1);
  EXPECT_EQ(drafter.executor_.rows_computed(), 32);
  const auto slots = drafter.propose({&one, &other}, 1, 1);
  EXPECT_EQ(slots[1].nodes.size(), 1U);
  EXPECT_LT(drafter.executor_.rows_computed(), 32 + 8);
}

TEST(DraftModel, TokensThatOnlyOneOfTheModelsKnowsAreNotDraftedAndNotRead) {
  Drafter narrow({}, {.tree_width = 6, .tokens_known = 3});
  for (const DraftNode& node : narrow.propose(narrow.arrive({1, 2}), 3, 20).nodes) {
    EXPECT_LT(node.token, 3);
  }
  Drafter drafter({});
  EXPECT_TRUE(drafter.propose(drafter.arrive({1, 6}), 3, 3).nodes.empty());
}

TEST(DraftModel, EndsWhereATokenIsLessLikelyThanAsked) {
  Drafter drafter({}, {.tree_width = 6, .chance_min = 0.2});
  std::mt19937_64 dice(3);
  int64_t nodes = 0;
  for (int round = 0; round < 20; ++round) {
    const auto token = [&] { return static_cast<TokenId>(dice() % 6); };
    const DraftSlot slot = drafter.propose(drafter.arrive({token(), token(), token()}), 3, 20);
    for (const float chance : slot.chances) EXPECT_GE(chance, 0.199F);
    nodes += std::ssize(slot.nodes);
  }
  EXPECT_GT(nodes, 20);
}

TEST(DraftModel, WhatIsTooShortOrTooLongForItGoesWithout) {
  Drafter deep({}, {.depth_min = 3});
  EXPECT_EQ(deep.propose(deep.arrive({1, 2}), 3, 3).nodes.size(), 3U);
  const int64_t rows = deep.executor_.rows_computed();
  EXPECT_TRUE(deep.propose(deep.arrive({1, 2}), 2, 3).nodes.empty());
  EXPECT_EQ(deep.executor_.rows_computed(), rows);
  Drafter narrow({}, {.context_max = 6});
  EXPECT_EQ(narrow.propose(narrow.arrive({1, 2, 3}), 3, 3).nodes.size(), 3U);
  EXPECT_TRUE(narrow.propose(narrow.arrive({1, 2, 3, 4}), 3, 3).nodes.empty());
}

TEST(DraftModel, AnExecutorThatFailsDraftsNoMore) {
  Drafter drafter({});
  drafter.executor_.break_after(2);
  const Sequence& sequence = drafter.arrive({1, 2, 3});
  EXPECT_TRUE(drafter.propose(sequence, 4, 4).nodes.empty());
  EXPECT_TRUE(drafter.propose(sequence, 4, 4).nodes.empty());
  const DraftSlot slot = {.sequence = &sequence, .nodes_max = 4, .depth_max = 4};
  EXPECT_EQ(drafter.proposer_->cost_of({&slot, 1}).ms, 0);
  drafter.proposer_->forget(sequence);
  EXPECT_EQ(drafter.proposer_->ledger().held(0), 0);
}

TEST(DraftModel, RefusesModelsWithStates) {
  const std::vector<KvGroup> groups = {{.units = 9}, {.kind = KvKind::kState, .units = 4}};
  EXPECT_EQ(DraftModelProposer::supports(groups).code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(DraftModelProposer::supports(std::span(groups).first(1)).ok());
}

// Many sequences that take what was drafted, part of it or something else, in caches of all kinds:
// check() compares every node with the model.
TEST(DraftModel, RandomSequencesAreDraftedForAsTheModelSays) {
  std::mt19937_64 dice(11);
  const auto pick = [&](std::initializer_list<int32_t> values) {
    return values.begin()[dice() % values.size()];
  };
  int64_t drafted = 0, taken = 0, without = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<KvGroup> groups(1);
    groups[0].window = pick({0, 0, 1, 3, 9});
    if (dice() % 2 == 0) groups.push_back({.window = pick({0, 2, 7})});
    Drafter drafter({.model = {.vocab = 5,
                               .seed = dice() % 1000,
                               .broken_every = dice() % 4 == 0 ? 60U : 0U,
                               .groups = groups},
                     .block_tokens = pick({1, 3, 4, 16}),
                     .blocks = pick({20, 40, 200}),
                     .rows_max = pick({3, 8, 64}),
                     .sequences_max = pick({1, 3, 8})},
                    {.tree_width = pick({1, 2, 3}), .prefix_caching = dice() % 3 != 0});
    std::vector<Sequence*> live;
    for (int step = 0; step < 40; ++step) {
      if (live.size() < 4 && dice() % 2 == 0) {
        std::vector<TokenId> prompt(dice() % 12 + 1, 2);
        for (TokenId& token : prompt) {
          if (dice() % 5 == 0) token = static_cast<TokenId>(dice() % 5);
        }
        live.push_back(&drafter.arrive(prompt, dice() % 3 == 0 ? 1 : 0));
      }
      std::vector<const Sequence*> asked;
      for (const Sequence* sequence : live) {
        if (dice() % 5 > 0) asked.push_back(sequence);
      }
      const auto slots = drafter.propose(asked, pick({1, 2, 4}), pick({1, 3, 8}));
      if (testing::Test::HasFailure()) return;
      for (const DraftSlot& slot : slots) {
        Sequence& sequence = *std::ranges::find(live, slot.sequence->id, &Sequence::id)[0];
        int32_t at = -1;
        const auto known = sequence.tokens;
        for (int32_t i = 0; i < std::ssize(slot.nodes); ++i) {
          const bool follows = slot.nodes[static_cast<size_t>(i)].parent == at;
          if (!follows || dice() % 3 == 0) continue;
          at = i;
          ++taken;
        }
        sequence.tokens = Drafter::path_to(slot, at);
        sequence.tokens.push_back(static_cast<TokenId>(dice() % 5));
        drafted += std::ssize(slot.nodes);
        if (slot.nodes.empty()) ++without;
      }
      if (!live.empty() && dice() % 8 == 0) {
        drafter.proposer_->forget(*live.front());
        live.erase(live.begin());
      }
    }
    for (const Sequence* sequence : live) drafter.proposer_->forget(*sequence);
    EXPECT_EQ(drafter.proposer_->ledger().held(0), 0);
  }
  EXPECT_GT(drafted, 2000);
  EXPECT_GT(taken, 500);
  EXPECT_GT(without, 100);
}

}  // namespace
}  // namespace millrace
