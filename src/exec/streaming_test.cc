#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "exec/cache_plan.h"
#include "exec/fixed_sequences.h"
#include "exec/local.h"
#include "models/random.h"
#include "tensor/huge_pages.h"
#include "tests/fixtures/exec/logits_of.h"

namespace millrace {
namespace {

constexpr int32_t kStreamedTokens = 160;
constexpr int32_t kStreamedSequences = 4;

// Its weights take 6 MB: 8 layers of 0.6, an embedding of 1.1, and perhaps a head of 1.1.
RandomModelShape shape_of(bool tied) {
  RandomModelShape shape;
  shape.architecture = "qwen2";
  shape.layers = 8;
  shape.width = 256;
  shape.hidden = 512;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 64;
  shape.vocab = 4096;
  shape.tied_embeddings = tied;
  shape.format = DType::kQ8_0;
  return shape;
}

class StreamingTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_);
    write_model(true);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write_model(bool tied) const {
    const auto file = random_model(shape_of(tied)).value();
    std::ofstream(model_, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), std::ssize(file));
  }
  absl::StatusOr<std::unique_ptr<Model>> load(int64_t memory) {
    LoadOptions options;
    options.weight_memory = memory;
    if (memory > 0) options.pack_cache = packs_;
    ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(model_));
    return load_model(checkpoint, options, lanes_);
  }
  std::unique_ptr<LocalExecutor> executor_of(const Model& model) {
    LocalOptions options;
    options.units = FixedSequences::units(
        plan_cache(model.spec(), options.kv_dtype, options.block_tokens).groups, kStreamedSequences,
        kStreamedTokens);
    options.rows_max = kStreamedSequences * kStreamedTokens;
    options.sequences_max = kStreamedSequences;
    return LocalExecutor::create(model, lanes_, options).value();
  }
  std::filesystem::path pack() const { return std::filesystem::directory_iterator(packs_)->path(); }

  // Steps of many kinds: prompts with the logits of all rows, of the last one or of none, decoding.
  std::vector<float> logits_of_steps(const Model& model) {
    const auto executor = executor_of(model);
    FixedSequences sequences(executor->capacity(), kStreamedTokens);
    std::mt19937 random(7);
    const auto tokens = [&](int32_t count) {
      std::vector<TokenId> drawn;
      for (int32_t i = 0; i < count; ++i) {
        drawn.push_back(
            static_cast<TokenId>(random() % static_cast<uint32_t>(shape_of(true).vocab)));
      }
      return drawn;
    };
    std::vector<float> all;
    const auto step = [&](int32_t position, int32_t rows, int32_t count, SliceWants wants) {
      sequences.clear();
      for (int32_t s = 0; s < count; ++s) sequences.add(s, position, tokens(rows), wants);
      const std::vector<float> logits = logits_of(*executor, sequences.batch());
      all.insert(all.end(), logits.begin(), logits.end());
    };
    step(0, 3, 1, SliceWants::kLast);
    step(0, 40, 2, SliceWants::kNone);
    step(40, 100, 2, SliceWants::kAll);
    for (int32_t i = 0; i < 4; ++i) step(140 + i, 1, 1 + i % 2, SliceWants::kLast);
    step(0, 5, kStreamedSequences, SliceWants::kNone);
    step(5, 1, kStreamedSequences, SliceWants::kLast);
    return all;
  }

  const std::string folder_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-streams-{}", ::getpid());
  const std::string model_ = folder_ + "/model.gguf";
  const std::string packs_ = folder_ + "/packs";
  LanePool lanes_{3};
};

TEST_F(StreamingTest, LogitsAreThoseOfAModelInMemory) {
  for (const bool tied : {true, false}) {
    write_model(tied);
    const std::vector<float> expected = logits_of_steps(*load(0).value());
    // The least, one that the head fits in, and all but a little.
    for (const int64_t memory : {1'300'000, 2'600'000, 4'000'000, 5'600'000}) {
      for (const bool first : {true, false}) {
        if (first) std::filesystem::remove_all(packs_);
        const auto model = load(memory);
        ASSERT_TRUE(model.ok()) << model.status();
        ASSERT_NE((*model)->streamed(), nullptr) << memory;
        EXPECT_TRUE(logits_of_steps(**model) == expected) << tied << " " << memory << " " << first;
      }
    }
  }
}

TEST_F(StreamingTest, MemoryStaysWithinItsLimit) {
  for (const bool tied : {true, false}) {
    write_model(tied);
    for (const int64_t memory : {1'300'000, 2'600'000, 4'000'000}) {
      const auto model = load(memory).value();
      logits_of_steps(*model);
      EXPECT_LE(page_use(model->matrix_memory()).resident, memory) << tied;
      const StreamPlan& plan = model->streamed()->plan();
      EXPECT_GT(model->streamed()->bytes_read(), plan.resident_bytes() + 9 * plan.pass_bytes() / 2);
    }
  }
}

TEST_F(StreamingTest, AllInMemoryWhereItFits) {
  const auto model = load(64 << 20).value();
  EXPECT_EQ(model->streamed(), nullptr);
  EXPECT_TRUE(logits_of_steps(*model) == logits_of_steps(*load(0).value()));
}

TEST_F(StreamingTest, TooLittleMemoryIsRefusedWithTheLeastThatDoes) {
  const absl::Status status = load(500'000).status();
  ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
  int64_t least = 0;
  ASSERT_EQ(
      std::sscanf(std::string(message_of(status)).c_str(),
                  "500000 bytes of memory for weights are too few: this model needs %ld", &least),
      1);
  EXPECT_FALSE(std::filesystem::exists(packs_));
  EXPECT_TRUE(load(least).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(load(least - 1).status()));
  LoadOptions options;
  options.weight_memory = least;
  EXPECT_TRUE(absl::IsInvalidArgument(
      load_model(Checkpoint::open(model_).value(), options, lanes_).status()));
}

TEST_F(StreamingTest, AnUnusablePackIsMadeAgain) {
  const std::vector<float> expected = logits_of_steps(*load(2'600'000).value());
  std::filesystem::resize_file(pack(), 1000);
  EXPECT_TRUE(logits_of_steps(*load(2'600'000).value()) == expected);
}

// One decoding step after another until one fails.
absl::Status run_until_failure(LocalExecutor& executor) {
  FixedSequences sequences(executor.capacity(), kStreamedTokens);
  for (int32_t i = 0; i < 20; ++i) {
    sequences.clear();
    sequences.add(0, i, std::vector<TokenId>{i}, SliceWants::kLast);
    RETURN_IF_ERROR(executor.visit_logits(sequences.batch(), [](const WantedLogits&) {}));
  }
  return absl::OkStatus();
}

TEST_F(StreamingTest, DamageAndCutsAreErrorsOfTheStepAndStay) {
  const std::vector<float> expected = logits_of_steps(*load(2'600'000).value());
  const auto damage = [&](int64_t from_end) {
    std::fstream file(pack(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-from_end, std::ios::end);
    const auto byte = static_cast<char>(~file.get());
    file.seekp(-from_end, std::ios::end);
    file.put(byte);
  };
  for (const bool while_running : {false, true}) {
    for (const bool cut : {false, true}) {
      if (cut && !while_running) continue;  // found when it is opened
      auto model = load(2'600'000).value();
      if (!while_running) {
        model.reset();
        for (int64_t at = 1; at < 4'000'000; at += 500'000) damage(at);
        model = load(2'600'000).value();
      }
      const auto executor = executor_of(*model);
      if (while_running) {
        ASSERT_EQ(run_until_failure(*executor), absl::OkStatus());
        if (cut) {
          std::filesystem::resize_file(pack(), 1'000'000);
        } else {
          for (int64_t at = 1; at < 4'000'000; at += 500'000) damage(at);
        }
      }
      for (int i = 0; i < 2; ++i) {
        const absl::Status status = run_until_failure(*executor);
        EXPECT_TRUE(absl::IsDataLoss(status)) << status;
        EXPECT_THAT(std::string(message_of(status)),
                    testing::HasSubstr("it is removed, and the next start makes another"));
      }
      EXPECT_TRUE(logits_of_steps(*load(2'600'000).value()) == expected);
    }
  }
}

TEST_F(StreamingTest, ExecutorsOfOneModelTakeTurns) {
  const auto model = load(2'600'000).value();
  const std::vector<float> expected = logits_of_steps(*model);
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      LanePool lanes(2);
      LocalOptions options;
      options.sequences_max = 1;
      options.units = FixedSequences::units(
          plan_cache(model->spec(), options.kv_dtype, options.block_tokens).groups, 1,
          kStreamedTokens);
      const auto executor = LocalExecutor::create(*model, lanes, options).value();
      EXPECT_EQ(run_until_failure(*executor), absl::OkStatus());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(logits_of_steps(*model) == expected);
}

TEST_F(StreamingTest, AModelMayGoAtAnyTime) {
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(load(2'600'000).ok());
}

}  // namespace
}  // namespace millrace
