#include "apps/commands/bench/rig.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/random.h"

namespace millrace {
namespace {

// Prompt tokens computed in one step, as many as llama-bench's default micro-batch.
constexpr int32_t kBenchRows = 512;

}  // namespace

std::vector<BenchTest> tests_of(const BenchOptions& options) {
  std::vector<BenchTest> tests;
  const auto pp = static_cast<int32_t>(options.pp);
  const auto tg = static_cast<int32_t>(options.tg);
  if (pp > 0) {
    tests.push_back({.name = fmt::format("pp{}", pp), .prompt = true, .tokens = pp});
  }
  for (const int32_t depth : options.depth) {
    if (tg == 0) break;
    const std::string at = depth == 0 ? "" : fmt::format(" @ d{}", depth);
    tests.push_back({.name = fmt::format("tg{}{}", tg, at), .tokens = tg, .depth = depth});
  }
  for (const int32_t batch : options.batch) {
    if (tg == 0) break;
    tests.push_back({.name = fmt::format("tg{}@{}", tg, batch), .tokens = tg, .batch = batch});
  }
  for (size_t i = 0, quiet = tests.size(); options.contended && i < quiet; ++i) {
    BenchTest test = tests[i];
    test.name += " busy";
    test.contended = true;
    tests.push_back(std::move(test));
  }
  return tests;
}

absl::StatusOr<std::unique_ptr<BenchRig>> BenchRig::create(const Loaded& loaded,
                                                           const ComputeOptions& compute,
                                                           const std::vector<BenchTest>& tests,
                                                           const Ops* ops) {
  int32_t sequences = 1;
  int32_t tokens_max = 1;
  int32_t rows_max = 1;
  for (const BenchTest& test : tests) {
    sequences = std::max(sequences, test.batch);
    tokens_max = std::max(tokens_max, test.depth + test.tokens);
    const int32_t prompt = test.prompt ? test.tokens : test.depth;
    rows_max = std::max({rows_max, std::min(prompt, kBenchRows), test.batch});
  }
  ASSIGN_OR_RETURN(auto executor,
                   make_executor(loaded, compute, sequences, tokens_max, rows_max, ops));
  return std::unique_ptr<BenchRig>(
      new BenchRig(std::move(executor), loaded.model->spec().vocab_size, tokens_max));
}

BenchRig::BenchRig(std::unique_ptr<LocalExecutor> executor, int32_t vocab_size, int32_t tokens_max)
    : executor_(std::move(executor)),
      vocab_size_(vocab_size),
      sequences_(executor_->capacity(), tokens_max) {}

TokenId BenchRig::random_token(int32_t i) const {
  return static_cast<TokenId>(sampling_uniform(0, 0, i) * static_cast<float>(vocab_size_));
}

absl::Status BenchRig::fill(int32_t tokens) {
  std::vector<TokenId> chunk;
  for (int32_t at = 0; at < tokens; at += kBenchRows) {
    const int32_t rows = std::min(kBenchRows, tokens - at);
    chunk.clear();
    for (int32_t i = 0; i < rows; ++i) chunk.push_back(random_token(at + i));
    sequences_.clear();
    sequences_.add(0, at, chunk, at + rows == tokens ? SliceWants::kLast : SliceWants::kNone);
    RETURN_IF_ERROR(step());
  }
  return absl::OkStatus();
}

absl::Status BenchRig::run(const BenchTest& test) {
  return test.prompt ? fill(test.tokens) : generate(test.depth, test.tokens, test.batch);
}

absl::Status BenchRig::run_typical_step(const BenchTest& test) {
  return test.prompt ? fill(test.tokens) : generate(test.depth + test.tokens / 2, 1, test.batch);
}

absl::Status BenchRig::generate(int32_t from, int32_t tokens, int32_t batch) {
  std::vector<TokenId> next;
  for (int32_t i = 0; i < batch; ++i) next.push_back(random_token(i));
  for (int32_t at = from; at < from + tokens; ++at) {
    sequences_.clear();
    for (int32_t i = 0; i < batch; ++i) {
      sequences_.add(i, at, {&next[static_cast<size_t>(i)], 1}, SliceWants::kLast);
    }
    RETURN_IF_ERROR(step());
    for (size_t i = 0; i < next.size(); ++i) next[i] = output_.drawn[i].token;
  }
  return absl::OkStatus();
}

absl::Status BenchRig::step() {
  RETURN_IF_ERROR(executor_->start(sequences_.batch()));
  orders_.clear();
  for (int32_t i = 0; i < std::ssize(sequences_.batch().wants); ++i) {
    DrawOrder greedy;
    greedy.want = i;
    greedy.temperature = 0;
    orders_.draws.push_back(greedy);
  }
  return executor_->finish(orders_, output_);
}

}  // namespace millrace
