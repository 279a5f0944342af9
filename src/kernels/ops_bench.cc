#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "quant/format.h"
#include "tensor/buffer.h"
#include "tests/fixtures/kernels/op_cases.h"

// Speed of products by format, columns and lanes, on the best tier. Few columns run over 134
// million weights, more than a cache holds; many run over 4 million.

namespace millrace {
namespace {

struct Subject {
  Buffer storage;
  PackedMatrix weights;
};

// One packed matrix at a time: every row is a copy of the first few.
const Subject& subject(DType format, int64_t rows, int64_t width) {
  static Subject made;
  if (made.weights.format() == format && made.weights.rows() == rows) return made;
  made.storage = Buffer::allocate(PackedMatrix::bytes(format, rows, width)).value();
  made.weights = PackedMatrix(format, rows, width, made.storage.data());
  constexpr int64_t kDifferent = 32;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(kDifferent * width));
  for (float& x : values) x = normal(random);
  std::vector<std::byte> blocks(static_cast<size_t>(kDifferent * row_bytes(format, width)));
  pack_row(format, values.data(), kDifferent * width, blocks.data());
  const TensorView source{{format, 2, {kDifferent, width, 1, 1}}, blocks.data()};
  for (int64_t row = 0; row < rows; row += kDifferent) CHECK(made.weights.pack(source, row));
  return made;
}

void run_linear(benchmark::State& state, DType format, ActivationForms forms, int64_t columns,
                int lanes) {
  const int64_t rows = columns <= 4 ? 16384 : 2048;
  const int64_t width = columns <= 4 ? 8192 : 2048;
  const Subject& matrix = subject(format, rows, width);
  const CpuOps ops(kernels_for(best_isa()));
  const Buffer workspace = Buffer::allocate(Activations::bytes(forms, columns, width)).value();
  const Activations in = Activations::lay_out(forms, columns, width, workspace.data());
  std::vector<float> values(static_cast<size_t>(columns * width), 0.5F);
  std::vector<float> results(static_cast<size_t>(columns * rows));
  const Rows<const float> in_rows{values.data(), columns, width, width};
  const Rows<float> out{results.data(), columns, rows, rows};
  LanePool pool(lanes);
  pool.run([&](Lane& lane) { ops.convert(lane, in_rows, in); });
  for (auto _ : state) {
    pool.run([&](Lane& lane) { ops.linear(lane, matrix.weights, in, {}, ops::Store::kSet, out); });
  }
  const auto operations = static_cast<double>(2 * rows * width * columns);
  const auto bytes = static_cast<double>(matrix.storage.size());
  state.counters["GOPS"] =
      benchmark::Counter(operations * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["weights_GB/s"] =
      benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void add_linear_benchmarks() {
  for (const DTypeInfo& info : kDTypes) {
    for (const ActivationForms forms : forms_of(best_isa(), info.type)) {
      for (const int64_t columns : {1, 4, 8, 32, 512}) {
        for (const int lanes : {1, 2}) {
          const std::string name = fmt::format("linear/{}/{}/columns:{}/lanes:{}", info.name,
                                               name_of(forms), columns, lanes);
          auto* bench = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            run_linear(state, info.type, forms, columns, lanes);
          });
          bench->Unit(benchmark::kMillisecond);
          if (lanes > 1)
            bench->UseRealTime();  // one lane by its CPU's time: a busy machine harms less
        }
      }
    }
  }
}

}  // namespace
}  // namespace millrace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  millrace::add_linear_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
