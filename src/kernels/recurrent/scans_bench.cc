#include <cmath>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "kernels/ops.h"
#include "tests/fixtures/kernels/op_cases.h"

// Scans of recurrent units on the best tier and one lane, at the shapes of models of width 2048: a
// prompt's rows and one row, as rows in a second, and as vectors of 16 numbers of the state that
// all of them go through in a second.

namespace millrace {
namespace {

struct ScanShape {
  const char* name;
  ops::MatrixScan scan;
  bool each_key;
};

using ScanRule = ops::MatrixScan::Rule;

const ScanShape kScanShapes[] = {
    {"mamba2", {.heads = 64, .key_heads = 1, .key_dim = 128, .value_dim = 64}, false},
    {"delta_net",
     {.rule = ScanRule::kDelta, .heads = 32, .key_heads = 16, .key_dim = 128, .value_dim = 128},
     false},
    {"kimi",
     {.rule = ScanRule::kDelta, .heads = 32, .key_heads = 32, .key_dim = 128, .value_dim = 128},
     true},
    {"rwkv6",
     {.rule = ScanRule::kReadFirst, .heads = 32, .key_heads = 32, .key_dim = 64, .value_dim = 64},
     true},
    {"rwkv7",
     {.rule = ScanRule::kPair, .heads = 32, .key_heads = 32, .key_dim = 64, .value_dim = 64},
     true},
};

void set_counters(benchmark::State& state, int64_t rows, int64_t state_floats) {
  const double vectors = static_cast<double>(rows * state_floats) / 16;
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["rows"] = benchmark::Counter(static_cast<double>(rows), rate);
  state.counters["vectors"] = benchmark::Counter(vectors, rate);
}

void run_matrix_scan(benchmark::State& state, const ScanShape& shape, int32_t rows) {
  ops::MatrixScan scan = shape.scan;
  const int64_t keys = scan.key_heads * scan.key_dim;
  const int64_t values = scan.heads * scan.value_dim;
  const int64_t all_keys = scan.heads * scan.key_dim;
  const int64_t decays = shape.each_key ? all_keys : scan.heads;
  const Floats qk = random_floats(rows * keys, 1, 0.08F);
  const Floats v = random_floats(rows * values, 2);
  const Floats d(at(rows * decays), 0.9F);
  const Floats strengths(at(rows * scan.heads), 0.5F);
  const Floats ab = random_floats(rows * all_keys, 3, 0.08F);
  Floats out(v.size());
  if (scan.rule == ScanRule::kReadFirst) scan.bonus = std::span(ab).first(at(all_keys));
  const auto view = [&](const Floats& of) {
    const int64_t width = std::ssize(of) / rows;
    return Rows<const float>{of.data(), rows, width, width};
  };
  const ops::MatrixScanRows in = {.queries = view(qk),
                                  .keys = view(qk),
                                  .values = view(v),
                                  .decays = view(d),
                                  .strengths = view(strengths),
                                  .a = view(ab),
                                  .b = view(ab)};
  const Buffer memory = Buffer::allocate(scan.state_floats() * 4).value();
  const ops::StateSlice slice = {.rows = rows, .unit = 0, .begins = true};
  const CpuOps ops(kernels_for(best_isa()));
  LanePool pool(1);
  for (auto _ : state) {
    pool.run([&](Lane& lane) {
      ops.matrix_scan(lane, {{&slice, 1}}, {memory.data(), 0}, scan, in, rows_of(out, rows));
    });
  }
  set_counters(state, rows, scan.state_floats());
}

void run_selective_scan(benchmark::State& state, int32_t rows) {
  constexpr int64_t kChannels = 4096;
  constexpr int64_t kStates = 16;
  const Floats in = random_floats(rows * kChannels, 1);
  const Floats bc = random_floats(rows * kStates, 2);
  const Floats rates(kStates * kChannels, -1);
  Floats out(in.size());
  const Buffer memory = Buffer::allocate(kStates * kChannels * 4).value();
  const ops::StateSlice slice = {.rows = rows, .unit = 0, .begins = true};
  const Rows<const float> wide = {in.data(), rows, kChannels, kChannels};
  const Rows<const float> narrow = {bc.data(), rows, kStates, kStates};
  const CpuOps ops(kernels_for(best_isa()));
  LanePool pool(1);
  for (auto _ : state) {
    pool.run([&](Lane& lane) {
      ops.selective_scan(lane, {{&slice, 1}}, {memory.data(), 0},
                         {.state_dim = kStates, .rates = rates}, {wide, wide, narrow, narrow},
                         rows_of(out, rows));
    });
  }
  set_counters(state, rows, kStates * kChannels);
}

void run_conv(benchmark::State& state, int32_t rows) {
  constexpr int64_t kChannels = 8192;
  const Floats in = random_floats(rows * kChannels, 1);
  const Floats weight = random_floats(4 * kChannels, 2);
  Floats out(in.size());
  const Buffer memory = Buffer::allocate(3 * kChannels * 4).value();
  const ops::StateSlice slice = {.rows = rows, .unit = 0, .begins = true};
  const CpuOps ops(kernels_for(best_isa()));
  LanePool pool(1);
  for (auto _ : state) {
    pool.run([&](Lane& lane) {
      ops.causal_conv(lane, {{&slice, 1}}, {memory.data(), 0}, {.weight = weight, .silu = true},
                      {in.data(), rows, kChannels, kChannels}, rows_of(out, rows));
    });
  }
  set_counters(state, rows, kChannels);
}

const bool kScansRegistered = [] {
  for (const int32_t rows : {1, 512}) {
    const auto name_for = [&](const char* name) { return fmt::format("{}/rows:{}", name, rows); };
    for (const ScanShape& shape : kScanShapes) {
      const std::string name = name_for(shape.name);
      benchmark::RegisterBenchmark(
          ("scan/" + name).c_str(),
          [&shape, rows](benchmark::State& state) { run_matrix_scan(state, shape, rows); });
    }
    benchmark::RegisterBenchmark(name_for("scan/mamba").c_str(), run_selective_scan, rows);
    benchmark::RegisterBenchmark(name_for("conv").c_str(), run_conv, rows);
  }
  return true;
}();

}  // namespace
}  // namespace millrace
