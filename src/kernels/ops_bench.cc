#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/measure/roofline.h"
#include "kernels/ops.h"
#include "quant/format.h"
#include "tests/fixtures/kernels/op_cases.h"

// Speed of products by tier, format, form of the activations and columns: bytes of weights as part
// of the memory's bandwidth, operations as part of the peak of the instructions that they are made
// of, both measured around each product. Few columns run over 134 million weights, more than a
// cache holds; many run over 17 million.

namespace millrace {
namespace {

constexpr int64_t kWidth = 2048;
constexpr int64_t kFewColumnsMax = 8;

struct Subject {
  Buffer storage;
  PackedMatrix weights;
};

// One packed matrix at a time: every row is a copy of the first few.
const Subject& subject(DType format, int64_t rows) {
  static Subject made;
  if (made.weights.format() == format && made.weights.rows() == rows) return made;
  made.storage = Buffer::allocate(PackedMatrix::bytes(format, rows, kWidth)).value();
  made.weights = PackedMatrix(format, rows, kWidth, made.storage.data());
  constexpr int64_t kDifferent = 32;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(kDifferent * kWidth));
  for (float& x : values) x = normal(random);
  std::vector<std::byte> blocks(static_cast<size_t>(kDifferent * row_bytes(format, kWidth)));
  pack_row(format, values.data(), kDifferent * kWidth, blocks.data());
  const TensorView source{{format, 2, {kDifferent, kWidth, 1, 1}}, blocks.data()};
  for (int64_t row = 0; row < rows; row += kDifferent) CHECK(made.weights.pack(source, row));
  return made;
}

// The pool and the probe of the tier at hand.
struct Machine {
  LanePool pool;
  Isa isa;
  RooflineProbe probe;

  Machine(Isa tier, int lanes)
      : pool(lanes), isa(tier), probe(RooflineProbe::create(tier, pool).value()) {}
};

Machine& machine(Isa isa, int lanes) {
  static std::unique_ptr<Machine> made;
  if (made == nullptr || made->isa != isa) {
    made = nullptr;
    made = std::make_unique<Machine>(isa, lanes);
  }
  return *made;
}

void run_linear(benchmark::State& state, Isa isa, DType format, ActivationForms forms,
                int64_t columns, int lanes) {
  const int64_t rows = columns <= kFewColumnsMax ? 65536 : 8192;
  const Subject& matrix = subject(format, rows);
  Machine& measured = machine(isa, lanes);
  const CpuOps ops(kernels_for(isa));
  const Buffer workspace = Buffer::allocate(Activations::bytes(forms, columns, kWidth)).value();
  const Activations in = Activations::lay_out(forms, columns, kWidth, workspace.data());
  std::vector<float> values(static_cast<size_t>(columns * kWidth), 0.5F);
  std::vector<float> results(static_cast<size_t>(columns * rows));
  const Rows<const float> in_rows{values.data(), columns, kWidth, kWidth};
  const Rows<float> out{results.data(), columns, rows, rows};
  measured.pool.run([&](Lane& lane) { ops.convert(lane, in_rows, in); });
  std::vector<Roofline> rooflines = {measured.probe.measure()};
  std::vector<double> seconds;
  const RealClock clock;
  for (auto _ : state) {
    const Instant start = clock.now();
    measured.pool.run(
        [&](Lane& lane) { ops.linear(lane, matrix.weights, in, {}, ops::Store::kSet, out); });
    seconds.push_back(absl::ToDoubleSeconds(clock.now() - start));
    state.SetIterationTime(seconds.back());
  }
  rooflines.push_back(measured.probe.measure());
  const Roofline roofline = median_of(rooflines);
  std::ranges::nth_element(seconds, seconds.begin() + std::ssize(seconds) / 2);
  const double median = seconds[seconds.size() / 2];
  const double operations = static_cast<double>(2 * rows * kWidth * columns) / median;
  const double bytes = static_cast<double>(matrix.storage.size()) / median;
  state.counters["GOPS"] = operations * 1e-9;
  state.counters["%peak"] = operations / roofline.peak_of(format, forms) * 100;
  if (columns > kFewColumnsMax) return;
  state.counters["GB/s"] = bytes * 1e-9;
  state.counters["%DRAM"] = bytes / roofline.bandwidth * 100;
}

struct Selection {
  std::vector<Isa> isas;
  std::vector<std::string> formats;  // empty: all
  std::vector<int64_t> columns = {1, 2, 3, 4, 8, 16, 32, 64, 512};
  int lanes = static_cast<int>(std::thread::hardware_concurrency());
};

void add_linear_benchmarks(const Selection& selection) {
  for (const DTypeInfo& info : kDTypes) {
    const auto& formats = selection.formats;
    if (!formats.empty() && std::ranges::find(formats, info.name) == formats.end()) continue;
    for (const Isa isa : selection.isas) {
      for (const ActivationForms forms : forms_of(isa, info.type)) {
        for (const int64_t columns : selection.columns) {
          const std::string name = fmt::format("linear/{}/{}/{}/columns:{}", name_of(isa),
                                               info.name, name_of(forms), columns);
          benchmark::RegisterBenchmark(name.c_str(),
                                       [=, lanes = selection.lanes](benchmark::State& state) {
                                         run_linear(state, isa, info.type, forms, columns, lanes);
                                       })
              ->Unit(benchmark::kMillisecond)
              ->UseManualTime();
        }
      }
    }
  }
}

std::vector<Isa> default_isas() {
  std::vector<Isa> isas = {best_isa()};
  if (best_isa() > Isa::kAvx2) isas.push_back(Isa::kAvx2);
  return isas;
}

template <typename Number>
Number number_of(const std::string& text) {
  Number number = 0;
  CHECK(absl::SimpleAtoi(text, &number) && number > 0, "'{}' is no number above 0", text);
  return number;
}

// Takes its own options out of `arguments`; all others are Google Benchmark's.
Selection selection_of(std::vector<std::string>& arguments) {
  Selection selection;
  selection.isas = default_isas();
  std::vector<std::string> others;
  for (std::string& argument : arguments) {
    const std::pair<std::string, std::string> option =
        absl::StrSplit(argument, absl::MaxSplits('=', 1));
    const std::vector<std::string> values = absl::StrSplit(option.second, ',');
    if (option.first == "--format") {
      selection.formats = values;
    } else if (option.first == "--isa") {
      selection.isas.clear();
      for (const std::string& name : values) selection.isas.push_back(isa_named(name).value());
    } else if (option.first == "--columns") {
      selection.columns.clear();
      for (const std::string& count : values) {
        selection.columns.push_back(number_of<int64_t>(count));
      }
    } else if (option.first == "--lanes") {
      selection.lanes = number_of<int>(option.second);
    } else if (option.first == "--json") {
      others.push_back("--benchmark_format=json");
    } else {
      others.push_back(argument);
    }
  }
  arguments = others;
  return selection;
}

}  // namespace
}  // namespace millrace

// --format=Q4_0,... --isa=avx2,... --columns=1,... --lanes=N --json, and Google Benchmark's
// options.
int main(int count, char** given) {
  std::vector<std::string> arguments(given, given + count);
  const millrace::Selection selection = millrace::selection_of(arguments);
  std::vector<char*> rest;
  for (std::string& argument : arguments) rest.push_back(argument.data());
  count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 1;
  millrace::add_linear_benchmarks(selection);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
