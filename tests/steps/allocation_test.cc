#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include <gtest/gtest.h>

#include "base/check.h"
#include "engine/engine.h"
#include "exec/cache_plan.h"
#include "exec/local.h"
#include "models/random.h"
#include "server/observe/metrics.h"
#include "tests/fixtures/text/tiny_vocab.h"

// A step allocates nothing after warm-up, with a server's metrics watching it: this program counts
// every call of operator new. A sequence's own lists (its block table, its token counts) still
// double as it grows, which is seldom and is let through by count.

namespace {

std::atomic<int64_t> allocations = 0;

void* counted(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace millrace {
namespace {

constexpr int32_t kSequences = 4;
constexpr int32_t kSequencesMax = 8;
constexpr int32_t kRowsMax = 64;
constexpr int kWarmUpSteps = 40;
constexpr int kCountedSteps = 60;
// From 44 to 104 tokens each block table outgrows 4 blocks of 16, and the flat table of a batch 16
// of them.
constexpr int64_t kDoublings = kSequences + 2;

class CountingSink final : public TokenSink {
 public:
  bool tokens(std::span<const TokenEvent> events) override {
    tokens_ += static_cast<int64_t>(events.size());
    return true;
  }
  void finish(const FinishEvent&) override {}
  int64_t count() const { return tokens_; }

 private:
  int64_t tokens_ = 0;
};

Request request_of(int32_t i) {
  Request request;
  request.prompt = {1, 2, 3, 4 + i};
  request.sampling.temperature = i % 2 == 0 ? 0.0F : 0.9F;
  request.sampling.top_p = 0.9F;
  request.sampling.top_k = 20;
  request.stop.tokens_max = 200;
  request.stop.ignore_eos = true;
  return request;
}

TEST(Step, AllocatesNothingAfterWarmUp) {
  LanePool lanes(2);
  RandomModelShape shape;
  shape.format = DType::kQ4_0;
  const auto model = load_random_model(shape, {}, lanes);
  ASSERT_TRUE(model.ok());
  LocalOptions local;
  local.isa = best_isa();
  local.units = {256};
  local.rows_max = kRowsMax;
  local.sequences_max = kSequencesMax;
  const auto executor = LocalExecutor::create(**model, lanes, local);
  ASSERT_TRUE(executor.ok());

  TinyVocab vocab;
  for (int64_t i = 0; i < shape.vocab; ++i) vocab.add(std::string(1, static_cast<char>('0' + i)));
  vocab.merge("0", "1");
  const auto tokenizer = Tokenizer::create(vocab.metadata("gpt2", "gpt-2"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const RealClock clock;
  EngineOptions options;
  options.card.context_max = shape.context;
  options.card.vocab_size = static_cast<int32_t>(shape.vocab);
  options.sequences_max = kSequencesMax;
  options.rows_max = kRowsMax;
  Metrics metrics({});
  const auto engine = Engine::create(options, **executor, **tokenizer, clock, {&metrics});
  ASSERT_TRUE(engine.ok()) << engine.status();
  metrics.set_model(**engine, "tiny");

  const auto sink = std::make_shared<CountingSink>();
  for (int32_t i = 0; i < kSequences; ++i) {
    ASSERT_TRUE((*engine)->submit(request_of(i), sink).ok());
  }
  for (int step = 0; step < kWarmUpSteps; ++step) ASSERT_TRUE((*engine)->step().ok());
  const int64_t allocated = allocations;
  const int64_t told = sink->count();
  for (int step = 0; step < kCountedSteps; ++step) CHECK((*engine)->step().ok());
  EXPECT_LE(allocations - allocated, kDoublings);
  EXPECT_EQ(sink->count() - told, kCountedSteps * kSequences);
}

}  // namespace
}  // namespace millrace
