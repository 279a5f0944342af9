#pragma once

#include <cstdint>
#include <cstdio>
#include <vector>

#include "apps/commands/bench/make.h"
#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace bench`: prompt, generation and batched decode speed of a model. `millrace bench make`:
// a model of random weights to measure.
struct BenchOptions {
  ComputeOptions compute;
  int64_t pp = 512;                  // prompt tokens; 0: not measured
  int64_t tg = 128;                  // generated tokens; 0: not measured
  std::vector<int32_t> depth = {0};  // tokens in the cache before those of a sequence alone
  std::vector<int32_t> batch = {1, 2, 4, 8, 16, 32};
  int64_t repeat = 5;
  bool profile = false;
  bool contended = false;  // generation also with a foreign process on each CPU
  bool json = false;
  bool making = false;  // `bench make` was typed
  MakeOptions make;
};

void bind(CLI::App& command, BenchOptions& options);
absl::Status run_bench(const BenchOptions& options, std::FILE* out);

}  // namespace millrace
