#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/commands/bench/bench.h"
#include "apps/input/loaded.h"
#include "base/status.h"
#include "exec/fixed_sequences.h"
#include "kernels/ops.h"

namespace millrace {

// What one row of the table measures.
struct BenchTest {
  std::string name;     // "pp512", "tg128", "tg128@8", "tg128 @ d2048", "tg128 busy"
  bool prompt = false;  // computes its tokens together, else one after the other
  int32_t tokens = 0;   // of each sequence
  int32_t batch = 1;
  int32_t depth = 0;  // tokens in the cache before
  bool busy = false;  // beside a foreign busy process on each CPU

  int64_t all_tokens() const { return int64_t{tokens} * batch; }
};
std::vector<BenchTest> tests_of(const BenchOptions& options);

// An executor for some tests, driven as an engine would, greedily, without one.
class BenchRig {
 public:
  // `loaded` outlives the rig, and so do `ops`, which compute in place of the tier's own unless
  // null.
  static absl::StatusOr<std::unique_ptr<BenchRig>> create(const Loaded& loaded,
                                                          const ComputeOptions& compute,
                                                          const std::vector<BenchTest>& tests,
                                                          const Ops* ops);

  // Fills the cache of the first sequence: with what a chunk of random tokens leaves there, over
  // and over, as a step costs the same whatever it reads. Where it keeps a state alone nothing is
  // done.
  absl::Status fill_below(int32_t depth);
  // The whole test. What lies in the cache below its depth is left as it is.
  absl::Status run(const BenchTest& test);
  // A prompt, or the step of a generation that sees as many keys as the steps do on average.
  absl::Status run_typical_step(const BenchTest& test);

 private:
  BenchRig(std::unique_ptr<LocalExecutor> executor, int32_t vocab_size, int32_t tokens_max);
  TokenId random_token(int32_t i) const;
  absl::Status compute_prompt(int32_t from, int32_t tokens);
  absl::Status generate(int32_t from, int32_t tokens, int32_t batch);
  absl::Status step();

  std::unique_ptr<LocalExecutor> executor_;
  int32_t vocab_size_;
  FixedSequences sequences_;
  DrawOrders orders_;
  StepOutput output_;
};

}  // namespace millrace
