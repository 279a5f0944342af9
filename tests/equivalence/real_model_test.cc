#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/check.h"
#include "engine/engine.h"
#include "exec/cache_plan.h"
#include "exec/fixed_sequences.h"
#include "exec/local.h"
#include "models/random.h"

// The promise of ARCHITECTURE.md on real kernels: an answer does not depend, bit for bit, on what
// runs beside it, how its prompt was chunked, the threads, the cache, preemption or drafts.

namespace millrace {
namespace {

constexpr int32_t kVocab = 64;
constexpr int32_t kTokensMax = 96;
constexpr TokenId kEnd = 0;

// Token 0 ends an answer; the others are two hexadecimal digits.
std::unique_ptr<const Tokenizer> tokenizer() {
  std::vector<std::string> tokens = {"</s>"};
  std::vector<int64_t> kinds = {static_cast<int64_t>(TokenKind::kControl)};
  for (int32_t i = 1; i < kVocab; ++i) {
    tokens.push_back(fmt::format("{:02x}", i));
    kinds.push_back(static_cast<int64_t>(TokenKind::kNormal));
  }
  Metadata metadata;
  metadata.set_string("tokenizer.ggml.model", "gpt2");
  metadata.set_string("tokenizer.ggml.pre", "gpt-2");
  metadata.set_strings("tokenizer.ggml.tokens", tokens);
  metadata.set_integers("tokenizer.ggml.token_type", MetaType::kI32, kinds);
  metadata.set_strings("tokenizer.ggml.merges", {});
  metadata.set_integer("tokenizer.ggml.eos_token_id", MetaType::kU32, kEnd);
  return *Tokenizer::create(metadata);
}

// What is told of one token.
struct Told {
  TokenId token;
  float logprob;
  std::vector<std::pair<TokenId, float>> top;
  bool operator==(const Told&) const = default;
};

Told told_of(TokenId token, float logprob, std::span<const TokenLogprob> top) {
  Told told{token, logprob, {}};
  for (const TokenLogprob& likely : top) told.top.emplace_back(likely.token, likely.logprob);
  return told;
}

class Recorder final : public TokenSink {
 public:
  explicit Recorder(int32_t n) : choices(static_cast<size_t>(n)) {}
  bool tokens(std::span<const TokenEvent> events) override {
    for (const TokenEvent& event : events) {
      auto& to = event.of_prompt ? prompt : choices[static_cast<size_t>(event.choice)];
      to.push_back(told_of(event.token, event.logprob, event.top));
    }
    return true;
  }
  void finish(const FinishEvent& event) override { end = event.status; }

  std::vector<Told> prompt;
  std::vector<std::vector<Told>> choices;
  absl::Status end = absl::UnknownError("not ended");
};

struct Rig {
  RandomModelShape shape;
  int32_t threads = 1;
  int32_t block_tokens = 16;
  int64_t blocks = 64;  // of groups that keep all tokens
  bool tight = false;   // those of windows, and states, are hardly enough for a few sequences
  int32_t rows_max = 256;
  int32_t sequences_max = 8;
  bool prefix_caching = true;
};

// Behind a window blocks are given back at once where there are hardly more than one sequence
// needs.
int64_t units_of(const KvGroup& group, const Rig& rig) {
  if (group.kind == KvKind::kState) return rig.tight ? 3 : rig.sequences_max + 8;
  if (group.window == 0 || !rig.tight) return rig.blocks;
  return std::min(rig.blocks, blocks_per_sequence(group, rig.rows_max, kTokensMax) + 1);
}

// A model on so many threads, and an executor for it.
struct Machine {
  explicit Machine(const Rig& rig) : lanes(rig.threads) {
    auto loaded = load_random_model(rig.shape, {}, lanes);
    CHECK(loaded.ok(), "{}", message_of(loaded.status()));
    model = *std::move(loaded);
    LocalOptions options;
    options.block_tokens = rig.block_tokens;
    for (const KvGroup& group :
         plan_cache(model->spec(), options.kv_dtype, options.block_tokens).groups) {
      options.units.push_back(units_of(group, rig));
    }
    options.rows_max = rig.rows_max;
    options.sequences_max = rig.sequences_max;
    auto made = LocalExecutor::create(*model, lanes, options);
    CHECK(made.ok(), "{}", message_of(made.status()));
    executor = *std::move(made);
  }
  LanePool lanes;
  std::unique_ptr<Model> model;
  std::unique_ptr<LocalExecutor> executor;
};

// One sequence on one thread, one token a step, in blocks of its own.
class NaiveLoop {
 public:
  explicit NaiveLoop(const RandomModelShape& shape)
      : machine_({.shape = shape, .blocks = kTokensMax / 16, .rows_max = 1, .sequences_max = 1}) {}

  Recorder answer(const Request& request) {
    Recorder recorder(request.choices);
    for (int32_t choice = 0; choice < request.choices; ++choice) {
      answer_choice(request, choice, recorder);
    }
    return recorder;
  }

 private:
  void answer_choice(const Request& request, int32_t choice, Recorder& recorder) {
    FixedSequences batches(machine_.executor->capacity(), kTokensMax);
    std::vector<TokenId> tokens = request.prompt;
    for (int32_t position = 0;; ++position) {
      batches.clear();
      batches.add(0, position, std::span(tokens).subspan(static_cast<size_t>(position), 1),
                  SliceWants::kLast);
      const bool in_prompt = position + 1 < std::ssize(request.prompt);
      DrawOrders orders;
      orders.draws.push_back(in_prompt ? score(request, tokens, position, orders)
                                       : draw(request, choice, tokens, orders));
      StepOutput output;
      CHECK(machine_.executor->start(batches.batch()).ok());
      CHECK(machine_.executor->finish(orders, output).ok());
      CHECK(output.drawn[0].error == RowError::kNone);
      if (in_prompt) {
        if (choice > 0 || request.prompt_logprobs < 0) continue;
        recorder.prompt.push_back(told_of(orders.scored[0], output.scored[0], output.top.row(0)));
        continue;
      }
      const Drawn& drawn = output.drawn[0];
      tokens.push_back(drawn.token);
      recorder.choices[static_cast<size_t>(choice)].push_back(
          told_of(drawn.token, drawn.logprob, output.top.row(0)));
      const auto generated = std::ssize(tokens) - std::ssize(request.prompt);
      if (drawn.token == kEnd || generated == request.stop.tokens_max) return;
    }
  }

  static DrawOrder score(const Request& request, const std::vector<TokenId>& tokens,
                         int32_t position, DrawOrders& orders) {
    orders.scored = {tokens[static_cast<size_t>(position) + 1]};
    DrawOrder order;
    order.kind = DrawKind::kScore;
    order.logprobs = request.prompt_logprobs;
    order.scored = {0, 1};
    return order;
  }

  static DrawOrder draw(const Request& request, int32_t choice, const std::vector<TokenId>& tokens,
                        DrawOrders& orders) {
    const SamplingParams& params = request.sampling;
    DrawOrder order;
    order.temperature = params.temperature;
    order.top_p = params.top_p;
    order.min_p = params.min_p;
    order.typical = params.typical;
    order.top_k = params.top_k;
    order.repetition = params.repetition;
    order.frequency = params.frequency;
    order.logprobs = request.logprobs;
    order.choice = choice;
    order.seed = params.seed;
    for (TokenId token = 0; token < kVocab; ++token) {
      const auto in_prompt = std::ranges::count(request.prompt, token);
      const auto ever = std::ranges::count(tokens, token);
      if (ever == 0) continue;
      orders.counts.push_back(
          {token, static_cast<int32_t>(in_prompt), static_cast<int32_t>(ever - in_prompt)});
    }
    order.counts = {0, static_cast<int32_t>(orders.counts.size())};
    return order;
  }

  Machine machine_;
};

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }
  template <typename T>
  T of(std::initializer_list<T> values) {
    return values.begin()[below(std::ssize(values))];
  }

 private:
  std::mt19937_64 engine_;
};

Request draw_request(Dice& dice) {
  Request request;
  const int64_t shared = dice.of<int64_t>({0, 20, 35});
  const int64_t own = dice.of<int64_t>({1, 2, 17, 30});
  for (int64_t i = 0; i < shared; ++i) request.prompt.push_back(static_cast<TokenId>(1 + i));
  for (int64_t i = 0; i < own; ++i) {
    request.prompt.push_back(static_cast<TokenId>(1 + dice.below(kVocab - 1)));
  }
  request.choices = dice.of<int32_t>({1, 1, 2, 3});
  request.logprobs = dice.of<int32_t>({0, 2});
  request.prompt_logprobs = dice.of<int32_t>({kNoLogprobs, kNoLogprobs, 1});
  SamplingParams& sampling = request.sampling;
  sampling.temperature = dice.of({0.0F, 0.8F, 1.5F});
  sampling.top_k = dice.of<int32_t>({0, 20});
  sampling.top_p = dice.of({1.0F, 0.9F});
  sampling.min_p = dice.of({0.0F, 0.02F});
  sampling.repetition = dice.of({1.0F, 1.1F});
  sampling.frequency = dice.of({0.0F, 0.1F});
  sampling.seed = static_cast<uint64_t>(dice.below(100));
  request.stop.tokens_max = dice.of<int64_t>({1, 6, 14});
  return request;
}

// Drafts trees of random shapes, whose tokens are often those of the naive answer.
class Guesses final : public Proposer {
 public:
  Guesses(const std::vector<Request>& requests, const std::vector<Recorder>& naive, int64_t seed)
      : requests_(requests), naive_(naive), dice_(static_cast<uint64_t>(seed)) {}

  std::string_view method() const override { return "guesses"; }
  void propose(std::span<DraftSlot> slots) override {
    for (DraftSlot& slot : slots) {
      std::vector<int32_t> depths;
      for (int64_t i = dice_.below(slot.nodes_max + 1); i > 0; --i) {
        const auto nodes = std::ssize(slot.nodes);
        const auto parent =
            static_cast<int32_t>(nodes - 1 - dice_.below(std::min<int64_t>(nodes + 1, 3)));
        const int32_t depth = parent < 0 ? 0 : depths[static_cast<size_t>(parent)] + 1;
        if (depth == slot.depth_max) break;
        depths.push_back(depth);
        slot.add(guess(*slot.sequence, depth), parent, 0.5F);
      }
    }
  }
  void forget(const Sequence& /*sequence*/) override {}

 private:
  TokenId guess(const Sequence& sequence, int32_t depth) {
    const size_t known = dice_.below(8) > 0 ? requests_.size() : 0;
    for (size_t i = 0; i < known; ++i) {
      if (requests_[i].prompt != sequence.request->prompt) continue;
      const auto& answer = naive_[i].choices[static_cast<size_t>(sequence.choice)];
      const auto at = static_cast<size_t>(sequence.generated() + depth);
      if (at < answer.size()) return answer[at].token;
    }
    return static_cast<TokenId>(dice_.below(kVocab));
  }

  const std::vector<Request>& requests_;
  const std::vector<Recorder>& naive_;
  Dice dice_;
};

struct Sent {
  const Request* request;
  const Recorder* naive;
  std::shared_ptr<Recorder> sink;
  RequestId id;
};

void drive(Engine& engine, Dice& dice, const std::vector<Request>& requests,
           const std::vector<Recorder>& naive) {
  std::vector<Sent> sent;
  while (sent.size() < requests.size() || !engine.idle()) {
    if (sent.size() < requests.size() && dice.below(2) == 0) {
      const Request& request = requests[sent.size()];
      auto sink = std::make_shared<Recorder>(request.choices);
      const auto id = engine.submit(request, sink);
      ASSERT_TRUE(id.ok()) << id.status();
      sent.push_back({&request, &naive[sent.size()], sink, *id});
    }
    if (!sent.empty() && dice.below(25) == 0) {
      engine.cancel(sent[static_cast<size_t>(dice.below(std::ssize(sent)))].id);
    }
    ASSERT_TRUE(engine.step().ok());
    engine.check_integrity();
  }
  for (const Sent& one : sent) {
    if (absl::IsCancelled(one.sink->end)) continue;
    ASSERT_TRUE(one.sink->end.ok()) << one.sink->end;
    EXPECT_TRUE(one.sink->prompt == one.naive->prompt);
    EXPECT_TRUE(one.sink->choices == one.naive->choices);
  }
}

// Every size of block, with a pool that barely holds the longest request, so that others give way,
// and with room to spare.
Rig draw_rig(Dice& dice, const RandomModelShape& shape, int32_t round) {
  constexpr std::array<int32_t, 4> kBlockTokens = {1, 4, 16, 32};
  const int32_t block_tokens = kBlockTokens[static_cast<size_t>(round / 2 % 4)];
  const bool tight = round % 2 == 0;
  return {.shape = shape,
          .threads = 1 + (round + round / 4) % 4,
          .block_tokens = block_tokens,
          .blocks = (tight ? kTokensMax : 2000) / block_tokens,
          .tight = tight,
          .rows_max = tight ? 64 : dice.of<int32_t>({1, 3, 16, 256}),
          .sequences_max = tight ? 8 : dice.of<int32_t>({1, 3, 8}),
          .prefix_caching = dice.below(3) > 0};
}

class RealModel : public testing::TestWithParam<const char*> {};

TEST_P(RealModel, GivesEveryRequestWhatItWouldGetAlone) {
  RandomModelShape shape;
  shape.architecture = GetParam();
  shape.vocab = kVocab;
  shape.format = DType::kQ4_0;
  shape.hidden = 96;
  if (shape.architecture == "llama" || shape.architecture.starts_with("gemma3")) shape.window = 12;
  if (shape.architecture == "gemma3n") shape.layers = 4;
  if (shape.architecture == "deepseek2") {
    shape.head_dim = 32;
    shape.latent_dim = 32;
  }
  if (shape.architecture == "qwen3moe") {
    shape.experts = 5;
    shape.chosen = 2;
  }
  const auto words = tokenizer();
  NaiveLoop loop(shape);
  Dice dice(7);
  std::vector<Request> requests;
  std::vector<Recorder> naive;
  for (int i = 0; i < 9; ++i) {
    requests.push_back(draw_request(dice));
    naive.push_back(loop.answer(requests.back()));
  }
  int64_t preemptions = 0, cached = 0, drafted = 0, accepted = 0;
  for (int32_t round = 0; round < 8; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    const Rig rig = draw_rig(dice, shape, round);
    Machine machine(rig);
    EngineOptions options;
    options.card.context_max = kTokensMax;
    options.card.vocab_size = kVocab;
    options.rows_max = rig.rows_max;
    options.sequences_max = rig.sequences_max;
    options.prefix_caching = rig.prefix_caching;
    options.state_snapshot_tokens = round % 4 == 3 ? 512 : 4;
    const RealClock clock;
    options.drafting = {.depth_max = dice.of<int32_t>({1, 4, 8}), .nodes_max = 10};
    Proposers proposers;
    proposers.push_back(std::make_unique<Guesses>(requests, naive, round));
    const auto engine =
        *Engine::create(options, *machine.executor, *words, clock, {}, std::move(proposers));
    drive(*engine, dice, requests, naive);
    if (HasFatalFailure()) return;
    EXPECT_EQ(engine->stats().cache_use(), 0);
    preemptions += engine->stats().preemptions;
    cached += engine->stats().cached_tokens;
    const DraftUse drafts = engine->stats().drafts.front();
    drafted += drafts.tokens;
    accepted += std::accumulate(drafts.accepted_at.begin(), drafts.accepted_at.end(), int64_t{0});
  }
  EXPECT_GT(drafted, 100);
  EXPECT_GT(accepted, 30);
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(cached, 0);
}

INSTANTIATE_TEST_SUITE_P(Architectures, RealModel,
                         testing::Values("llama", "qwen2", "qwen3", "gemma3", "gemma3n",
                                         "command-r", "qwen3moe", "deepseek2", "mamba2",
                                         "granitehybrid"));

}  // namespace
}  // namespace millrace
