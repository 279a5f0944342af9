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
  const auto name_of = [](std::string_view kind, int32_t tokens, int32_t depth) {
    return fmt::format("{}{}{}", kind, tokens, depth == 0 ? "" : fmt::format(" @ d{}", depth));
  };
  for (const int32_t depth : options.depth) {
    if (pp == 0) break;
    tests.push_back(
        {.name = name_of("pp", pp, depth), .prompt = true, .tokens = pp, .depth = depth});
  }
  if (tg == 0) return tests;
  for (const int32_t depth : options.depth) {
    tests.push_back({.name = name_of("tg", tg, depth), .tokens = tg, .depth = depth});
  }
  if (options.contended) {
    tests.push_back({.name = fmt::format("tg{} busy", tg), .tokens = tg, .busy = true});
  }
  for (const int32_t batch : options.batch) {
    tests.push_back({.name = fmt::format("tg{}@{}", tg, batch), .tokens = tg, .batch = batch});
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

absl::Status BenchRig::fill_below(int32_t depth) {
  const auto keeps_tokens = [](const KvGroup& group) { return group.kind == KvKind::kTokens; };
  if (std::ranges::none_of(executor_->capacity().groups, keeps_tokens)) return absl::OkStatus();
  const int32_t computed = std::min(depth, kBenchRows);
  RETURN_IF_ERROR(compute_prompt(0, computed));
  if (computed == depth) return absl::OkStatus();
  const TokenId first = random_token(0);
  sequences_.clear();
  sequences_.add(0, 0, {&first, 1}, SliceWants::kLast);
  sequences_.repeat(computed, depth);
  return step();
}

absl::Status BenchRig::compute_prompt(int32_t from, int32_t tokens) {
  std::vector<TokenId> chunk;
  const int32_t end = from + tokens;
  for (int32_t at = from; at < end; at += kBenchRows) {
    const int32_t rows = std::min(kBenchRows, end - at);
    chunk.clear();
    for (int32_t i = 0; i < rows; ++i) chunk.push_back(random_token(at + i));
    sequences_.clear();
    sequences_.add(0, at, chunk, at + rows == end ? SliceWants::kLast : SliceWants::kNone);
    RETURN_IF_ERROR(step());
  }
  return absl::OkStatus();
}

absl::Status BenchRig::run(const BenchTest& test) {
  return test.prompt ? compute_prompt(test.depth, test.tokens)
                     : generate(test.depth, test.tokens, test.batch);
}

absl::Status BenchRig::run_typical_step(const BenchTest& test) {
  return test.prompt ? compute_prompt(test.depth, test.tokens)
                     : generate(test.depth + test.tokens / 2, 1, test.batch);
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
