#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "decode/propose/draft_model.h"
#include "decode/propose/ngram.h"
#include "decode/propose/suffix.h"
#include "engine/engine.h"
#include "tests/fixtures/engine/scripted_model.h"

namespace millrace {
namespace {

// Draws a workload. Its own generator: a failure is repeated by its seed.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  bool one_in(int64_t n) { return between(1, n) == 1; }
  template <typename T>
  T of(std::initializer_list<T> values) {
    return values.begin()[between(0, std::ssize(values) - 1)];
  }

 private:
  std::mt19937_64 engine_;
};

// Drafts trees of random shapes, whose tokens are often what a greedy sequence says next.
class Guesses final : public Proposer {
 public:
  Guesses(const ScriptedModel& model, bool chains, uint64_t seed)
      : model_(model), chains_(chains), dice_(seed) {}

  std::string_view method() const override { return "guesses"; }
  void propose(std::span<DraftSlot> slots) override {
    for (DraftSlot& slot : slots) {
      const int64_t nodes = dice_.between(0, slot.nodes_max);
      std::vector<int32_t> depths;
      for (int64_t i = 0; i < nodes; ++i) {
        const auto parent = static_cast<int32_t>(chains_ ? i - 1 : dice_.between(-1, i - 1));
        depths.push_back(parent < 0 ? 1 : depths[static_cast<size_t>(parent)] + 1);
        if (depths.back() > slot.depth_max) return;
        slot.add(guess(slot, parent), parent, 0.5F);
      }
    }
  }
  void forget(const Sequence& /*sequence*/) override {}

 private:
  TokenId guess(const DraftSlot& slot, int32_t parent) {
    if (dice_.one_in(4)) return static_cast<TokenId>(dice_.between(0, model_.vocab - 1));
    std::vector<TokenId> path;
    for (int32_t at = parent; at >= 0; at = slot.nodes[static_cast<size_t>(at)].parent) {
      path.push_back(slot.nodes[static_cast<size_t>(at)].token);
    }
    std::vector<TokenId> tokens = slot.sequence->tokens;
    tokens.insert(tokens.end(), path.rbegin(), path.rend());
    const std::vector<float> logits = model_.logits(model_.prefix(tokens));
    return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
  }

  const ScriptedModel& model_;
  const bool chains_;
  Dice dice_;
};

// Takes time by the clock, for each step and for each row, so that drafts have a price.
class Priced final : public Executor {
 public:
  Priced(Executor& executor, ManualClock& clock, int64_t step_us, int64_t row_us)
      : executor_(executor), clock_(clock), step_us_(step_us), row_us_(row_us) {}

  const Capacity& capacity() const override { return executor_.capacity(); }
  absl::Status start(const Batch& batch) override {
    clock_.advance(absl::Microseconds(step_us_ + row_us_ * batch.rows()));
    return executor_.start(batch);
  }
  absl::Status finish(const DrawOrders& orders, StepOutput& output) override {
    return executor_.finish(orders, output);
  }

 private:
  Executor& executor_;
  ManualClock& clock_;
  const int64_t step_us_, row_us_;
};

struct World {
  ScriptedModel model;
  int32_t block_tokens;
  int64_t tokens_max;  // of the longest request
  int32_t rows_max, sequences_max;
  int64_t long_prefill_rows;
  bool prefix_caching;
  int64_t state_snapshot_tokens;
  int64_t requests;
  DraftingOptions drafting;
};

constexpr int64_t kContext = 64;

// Of each kind that a model can have: groups that keep all tokens, windows, a state.
std::vector<KvGroup> draw_groups(Dice& dice, int32_t block_tokens) {
  const auto kinds = dice.between(1, 7);
  const int64_t blocks = std::max<int64_t>(dice.of<int64_t>({24, 48, 96, 1000}) / block_tokens, 1);
  std::vector<KvGroup> groups;
  if ((kinds & 1) != 0) {
    groups.resize(static_cast<size_t>(dice.between(1, 2)), {.units = blocks});
    if (dice.one_in(3)) groups.back().units += dice.between(0, 3);
  }
  if ((kinds & 2) != 0) {
    for (int64_t i = dice.between(1, 2); i > 0; --i) {
      KvGroup window{.block_tokens = block_tokens, .window = dice.of({1, 2, 3, 7, 16, 17, 40})};
      window.units = blocks_per_sequence(window, 1, kContext) + dice.of<int64_t>({0, 1, 4, 40});
      groups.push_back(window);
    }
  }
  if ((kinds & 4) != 0) {
    groups.push_back({.kind = KvKind::kState, .units = dice.of<int64_t>({1, 2, 3, 6, 12, 60})});
  }
  std::ranges::reverse(groups.begin(), dice.one_in(2) ? groups.end() : groups.begin());
  return groups;
}

World draw_world(Dice& dice) {
  const auto block_tokens = dice.of<int32_t>({1, 4, 16, 32});
  World world = {.model = {.vocab = dice.of<int32_t>({3, 4, 6}),
                           .seed = static_cast<uint64_t>(dice.between(1, 1000)),
                           .broken_every = dice.one_in(4) ? 150U : 0U,
                           .groups = draw_groups(dice, block_tokens)},
                 .block_tokens = block_tokens,
                 .tokens_max = kContext,
                 .rows_max = dice.of<int32_t>({1, 2, 3, 7, 16, 64, 256}),
                 .sequences_max = dice.of<int32_t>({1, 2, 3, 8}),
                 .long_prefill_rows = dice.of<int64_t>({0, 1, 4, 100}),
                 .prefix_caching = !dice.one_in(3),
                 .state_snapshot_tokens = dice.of<int64_t>({0, 1, 8, 20, 512}),
                 .requests = dice.between(1, 14),
                 .drafting = {.depth_max = dice.of({0, 1, 2, 4, 9}),
                              .nodes_max = dice.of({1, 3, 8, 20}),
                              .automatic = dice.one_in(2)}};
  for (const KvGroup& group : world.model.groups) {
    if (group.is_whole()) world.tokens_max = std::min(world.tokens_max, group.units * block_tokens);
  }
  return world;
}

// One that often says what the target does, in a cache of its own.
ScriptedModel draw_draft_model(Dice& dice, ScriptedModel model) {
  if (dice.one_in(3)) ++model.seed;
  std::erase_if(model.groups, [](const KvGroup& group) { return group.kind == KvKind::kState; });
  if (model.groups.empty()) model.groups.resize(1);
  for (KvGroup& group : model.groups) group.units = dice.of<int64_t>({6, 80, 200, 1000});
  return model;
}

Request draw_request(Dice& dice, int32_t vocab, bool automatic) {
  Request request;
  const auto token = [&] { return static_cast<TokenId>(dice.between(1, vocab - 1)); };
  const int64_t prompt = dice.of<int64_t>({1, 2, 5, 17, 33, 40});
  // Many begin alike.
  const TokenId beginning = dice.one_in(3) ? token() : 1;
  for (int64_t i = 0; i < prompt; ++i) {
    request.prompt.push_back(dice.one_in(8) ? token() : beginning);
  }
  request.choices = dice.one_in(3) ? static_cast<int32_t>(dice.between(2, 4)) : 1;
  request.logprobs = dice.of({kNoLogprobs, 0, 1, 3});
  request.prompt_logprobs = dice.one_in(4) ? static_cast<int32_t>(dice.between(0, 2)) : kNoLogprobs;
  request.cache_salt = dice.one_in(4) ? 1 : 0;
  request.draft_method = dice.of(
      {"", "", "guesses", "ngram", "suffix", "suffix", "draft_model", "draft_model", "none"});
  if (automatic && dice.one_in(4)) request.draft_method = "auto";
  SamplingParams& sampling = request.sampling;
  sampling.temperature = dice.of({0.0F, 0.7F, 1.0F, 3.0F});
  sampling.top_k = dice.one_in(3) ? 2 : 0;
  sampling.repetition = dice.one_in(4) ? 1.5F : 1.0F;
  sampling.presence = dice.one_in(4) ? 0.5F : 0.0F;
  sampling.frequency = dice.one_in(4) ? 0.25F : 0.0F;
  sampling.seed = static_cast<uint64_t>(dice.between(0, 5));
  if (dice.one_in(5)) sampling.logit_bias = {{token(), 2.0F}};
  if (dice.one_in(2)) sampling.logit_bias.push_back({0, -3.0F});  // longer answers
  if (dice.one_in(6)) sampling.banned = {{token()}, {token(), token()}};
  if (dice.one_in(8)) sampling.allowed = {token(), token(), token()};
  StopParams& stop = request.stop;
  stop.tokens_max = dice.of<int64_t>({1, 2, 8, 24});
  stop.tokens_min = dice.one_in(4) ? dice.between(1, stop.tokens_max) : 0;
  stop.ignore_eos = dice.one_in(4);
  if (dice.one_in(6)) stop.tokens = {token()};
  if (dice.one_in(3)) stop.strings = {"ab", "bba", "aab"};
  return request;
}

bool same(const TokenEvent& a, const TokenEvent& b) {
  return a.choice == b.choice && a.position == b.position && a.token == b.token &&
         a.of_prompt == b.of_prompt && a.logprob == b.logprob && a.finish == b.finish &&
         a.stop_string == b.stop_string &&
         std::ranges::equal(a.top, b.top, [](const TokenLogprob& x, const TokenLogprob& y) {
           return x.token == y.token && x.logprob == y.logprob;
         });
}

std::vector<TokenEvent> of_choice(const std::vector<TokenEvent>& events, int32_t choice) {
  std::vector<TokenEvent> out;
  std::ranges::copy_if(events, std::back_inserter(out),
                       [&](const TokenEvent& event) { return event.choice == choice; });
  return out;
}

struct Sent {
  Request request;
  std::shared_ptr<Notebook> sink = std::make_shared<Notebook>();
  RequestId id = {};
};

// One world, driven to its end.
class Trial {
 public:
  explicit Trial(uint64_t seed)
      : dice_(seed),
        world_(draw_world(dice_)),
        tokenizer_(letters(world_.model.vocab)),
        executor_(world_.model, world_.block_tokens, 0, world_.rows_max, world_.sequences_max),
        draft_executor_(draw_draft_model(dice_, world_.model), dice_.of({1, 4, 8}), 0,
                        dice_.of({2, 40, 64}), dice_.of({1, 8, 8})),
        priced_(executor_, clock_, dice_.of({0, 10, 1000}), dice_.of({0, 10, 400})),
        priced_draft_(draft_executor_, clock_, dice_.of({0, 10, 200}), dice_.of({0, 10, 50})) {
    EngineOptions options;
    options.card.context_max = kContext;
    options.card.vocab_size = world_.model.vocab;
    options.rows_max = world_.rows_max;
    options.sequences_max = world_.sequences_max;
    options.long_prefill_rows = world_.long_prefill_rows;
    options.prefix_caching = world_.prefix_caching;
    options.state_snapshot_tokens = world_.state_snapshot_tokens;
    options.drafting = world_.drafting;
    Proposers proposers;
    proposers.push_back(
        std::make_unique<Guesses>(world_.model, dice_.one_in(3), dice_.between(0, 1000)));
    proposers.push_back(std::make_unique<NgramProposer>(
        NgramOptions{.match_min = 1, .match_max = dice_.of({1, 2, 4})}));
    proposers.push_back(std::make_unique<SuffixProposer>(
        SuffixOptions{.tree_depth = dice_.of({2, 5, 24}),
                      .answers_max = dice_.of<int64_t>({0, 1, 100}),
                      .bytes_max = 1 << 20,
                      .nodes_per_match = dice_.of({1.0, 4.0}),
                      .chance_min = dice_.of({0.0, 0.1, 0.5})}));
    auto draft_model =
        std::make_unique<DraftModelProposer>(DraftModelOptions{.tree_width = dice_.of({1, 1, 2, 3}),
                                                               .vocab_size = world_.model.vocab,
                                                               .tokens_known = world_.model.vocab,
                                                               .prefix_caching = !dice_.one_in(4)},
                                             priced_draft_, clock_);
    drafts_of_model_ = &draft_model->ledger();
    proposers.push_back(std::move(draft_model));
    engine_ = *Engine::create(options, priced_, *tokenizer_, clock_, {}, std::move(proposers));
  }

  void run() {
    while (std::ssize(sent_) + refused_ < world_.requests || !engine_->idle()) {
      if (std::ssize(sent_) + refused_ < world_.requests && dice_.one_in(2)) send();
      if (!sent_.empty() && dice_.one_in(12)) cancel_one();
      ASSERT_TRUE(engine_->step().ok());
      engine_->check_integrity();
      drafts_of_model_->check_integrity();
      check_cache();
      clock_.advance(absl::Milliseconds(1));
      ASSERT_LT(++steps_, 20000) << "no end in sight";
    }
    EXPECT_EQ(engine_->stats().cache_use(), 0);
    EXPECT_EQ(engine_->stats().running, 0);
    EXPECT_EQ(engine_->stats().waiting, 0);
    EXPECT_EQ(drafts_of_model_->sequences(), 0);
    for (const Sent& sent : sent_) judge(sent);
    count();
  }

  static int64_t finished, failed, cancelled, preemptions, cached, copies;
  static int64_t blocks_behind, states_saved, states_copied, cached_with_state;
  static int64_t drafted, accepted, by_ngram, by_suffix, by_model, accepted_of_model;
  static int64_t evictions_whole, evictions_window, evictions_state;

 private:
  // Between two steps a sequence holds what its next row reads and the blocks of the rows that it
  // has yet to compute, of which a draft may have stored some, and one state.
  void check_cache() const {
    const GeneratorStats stats = engine_->stats();
    for (const GroupUse& use : stats.cache) {
      EXPECT_LE(use.held, (stats.running + stats.waiting) *
                              blocks_per_sequence(use.group, 1 + world_.drafting.depth_max,
                                                  world_.tokens_max));
    }
  }

  void count() const {
    const GeneratorStats stats = engine_->stats();
    preemptions += stats.preemptions;
    cached += stats.cached_tokens;
    copies += executor_.copies_made();
    blocks_behind += executor_.blocks_behind();
    states_saved += executor_.states_saved();
    states_copied += executor_.states_copied();
    for (const DraftUse& use : stats.drafts) {
      drafted += use.tokens;
      const int64_t came =
          std::accumulate(use.accepted_at.begin(), use.accepted_at.end(), int64_t{0});
      accepted += came;
      if (use.method == "ngram") by_ngram += use.tokens;
      if (use.method == "suffix") by_suffix += use.tokens;
      if (use.method != "draft_model") continue;
      by_model += use.tokens;
      accepted_of_model += came;
    }
    for (const GroupUse& use : stats.cache) {
      const bool is_state = use.group.kind == KvKind::kState;
      if (is_state) cached_with_state += stats.cached_tokens;
      (is_state               ? evictions_state
       : use.group.window > 0 ? evictions_window
                              : evictions_whole) += use.evictions;
    }
  }

  void send() {
    Sent& sent = sent_.emplace_back();
    sent.request = draw_request(dice_, world_.model.vocab, world_.drafting.automatic);
    if (sent_.size() > 1 && dice_.one_in(3)) follow_up(sent.request);
    const int64_t left = engine_->card().context_max - std::ssize(sent.request.prompt);
    if (left > 0 && dice_.one_in(6)) sent.request.stop.tokens_max = left;
    if (dice_.one_in(10)) sent.sink->events_max = static_cast<size_t>(dice_.between(1, 5));
    const auto id = engine_->submit(sent.request, sent.sink);
    if (id.ok()) {
      sent.id = *id;
      return;
    }
    EXPECT_GT(std::ssize(sent.request.prompt) + sent.request.stop.tokens_max, world_.tokens_max)
        << id.status();
    sent_.pop_back();
    ++refused_;
  }

  // What a conversation's next turn asks: all that was said before, and some tokens of its own.
  void follow_up(Request& request) {
    const Sent& earlier = sent_[static_cast<size_t>(dice_.between(0, std::ssize(sent_) - 2))];
    const std::vector<TokenEvent> answer = of_choice(earlier.sink->events, 0);
    std::vector<TokenId> prompt = earlier.request.prompt;
    for (const TokenEvent& event : answer) {
      if (!event.of_prompt) prompt.push_back(event.token);
    }
    prompt.insert(prompt.end(), request.prompt.begin(),
                  request.prompt.begin() + dice_.between(0, 1));
    if (std::ssize(prompt) > kContext / 2) return;
    request.prompt = prompt;
    request.cache_salt = earlier.request.cache_salt;
  }

  void cancel_one() {
    engine_->cancel(sent_[static_cast<size_t>(dice_.between(0, std::ssize(sent_) - 1))].id);
  }

  void judge(const Sent& sent) {
    ASSERT_EQ(sent.sink->ends.size(), 1U);
    const FinishEvent& end = sent.sink->ends[0];
    const NaiveAnswer naive = answer_naively(world_.model, *tokenizer_, sent.request);
    switch (end.status.code()) {
      case absl::StatusCode::kOk:
        EXPECT_EQ(naive.error, RowError::kNone);
        EXPECT_EQ(sent.sink->events.size(), naive.events.size());
        ++finished;
        break;
      case absl::StatusCode::kInternal:
        EXPECT_EQ(naive.error, RowError::kNotANumber);
        ++failed;
        break;
      case absl::StatusCode::kInvalidArgument:
        EXPECT_EQ(naive.error, RowError::kNothingAllowed);
        ++failed;
        break;
      default:
        EXPECT_EQ(end.status.code(), absl::StatusCode::kCancelled);
        ++cancelled;
    }
    for (int32_t choice = 0; choice < sent.request.choices; ++choice) {
      compare(of_choice(sent.sink->events, choice), of_choice(naive.events, choice), naive.error);
    }
    EXPECT_LE(end.usage.cached_tokens, end.usage.prompt_tokens - 1);
  }

  // What came is what the naive loop gives, or its beginning. Of an answer that fails the naive
  // loop stops at the first broken row, the engine where the first of all choices broke.
  static void compare(const std::vector<TokenEvent>& given, const std::vector<TokenEvent>& naive,
                      RowError error) {
    if (error == RowError::kNone) {
      ASSERT_LE(given.size(), naive.size());
    }
    for (size_t i = 0; i < std::min(given.size(), naive.size()); ++i) {
      ASSERT_TRUE(same(given[i], naive[i]))
          << "event " << i << ": token " << given[i].token << " for " << naive[i].token
          << " at position " << given[i].position << " for " << naive[i].position;
    }
  }

  Dice dice_;
  const World world_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  ScriptedExecutor executor_, draft_executor_;
  ManualClock clock_;
  const Ledger* drafts_of_model_ = nullptr;
  Priced priced_, priced_draft_;
  std::unique_ptr<Engine> engine_;
  std::vector<Sent> sent_;
  int64_t refused_ = 0;
  int64_t steps_ = 0;
};

int64_t Trial::finished = 0, Trial::failed = 0, Trial::cancelled = 0, Trial::preemptions = 0,
        Trial::cached = 0, Trial::copies = 0;
int64_t Trial::blocks_behind = 0, Trial::states_saved = 0, Trial::states_copied = 0,
        Trial::cached_with_state = 0;
int64_t Trial::drafted = 0, Trial::accepted = 0, Trial::by_ngram = 0, Trial::by_suffix = 0,
        Trial::by_model = 0, Trial::accepted_of_model = 0;
int64_t Trial::evictions_whole = 0, Trial::evictions_window = 0, Trial::evictions_state = 0;

TEST(Equivalence, EveryRequestGetsWhatItWouldGetAlone) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Trial(seed).run();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  // The workloads must have met what they are for.
  EXPECT_GT(Trial::finished, 500);
  EXPECT_GT(Trial::failed, 20);
  EXPECT_GT(Trial::cancelled, 50);
  EXPECT_GT(Trial::preemptions, 100);
  EXPECT_GT(Trial::cached, 100);
  EXPECT_GT(Trial::copies, 100);
  EXPECT_GT(Trial::blocks_behind, 10000);
  EXPECT_GT(Trial::states_saved, 1000);
  EXPECT_GT(Trial::states_copied, 100);
  EXPECT_GT(Trial::cached_with_state, 100);
  EXPECT_GT(Trial::drafted, 2000);
  EXPECT_GT(Trial::accepted, 500);
  EXPECT_GT(Trial::by_ngram, 300);
  EXPECT_GT(Trial::by_suffix, 300);
  EXPECT_GT(Trial::by_model, 500);
  EXPECT_GT(Trial::accepted_of_model, 150);
  EXPECT_GT(Trial::evictions_whole, 500);
  EXPECT_GT(Trial::evictions_window, 500);
  EXPECT_GT(Trial::evictions_state, 500);
}

}  // namespace
}  // namespace millrace
