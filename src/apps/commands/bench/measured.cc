#include "apps/commands/bench/measured.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "apps/commands/bench/foreign_cpu.h"
#include "apps/terminal/progress.h"
#include "base/clock.h"

namespace millrace {
namespace {

// One rig for the tests from an empty cache and one, of a single sequence, for those at a depth,
// which is filled once.
struct Rigs {
  std::unique_ptr<BenchRig> shallow;
  std::unique_ptr<BenchRig> deep;

  BenchRig& of(const BenchTest& test) const { return test.depth == 0 ? *shallow : *deep; }
};

absl::StatusOr<Rigs> make_rigs(const Loaded& loaded, const ComputeOptions& compute,
                               const std::vector<BenchTest>& tests) {
  std::vector<BenchTest> shallow, deep;
  int32_t depth = 0;
  for (const BenchTest& test : tests) {
    (test.depth == 0 ? shallow : deep).push_back(test);
    depth = std::max(depth, test.depth);
  }
  Rigs rigs;
  if (!shallow.empty()) {
    ASSIGN_OR_RETURN(rigs.shallow, BenchRig::create(loaded, compute, shallow, nullptr));
  }
  if (!deep.empty()) {
    ASSIGN_OR_RETURN(rigs.deep, BenchRig::create(loaded, compute, deep, nullptr));
    RETURN_IF_ERROR(rigs.deep->fill_below(depth));
  }
  return rigs;
}

// Sets what a typical step of the test does at least.
absl::Status count_work(const Loaded& loaded, const ComputeOptions& compute,
                        const Roofline& roofline, BenchResult& result) {
  const RealClock clock;
  const CpuOps cpu(kernels_for(loaded.isa));
  const Recorder recorder(cpu, loaded.lanes->lanes(), clock);
  ASSIGN_OR_RETURN(const auto rig, BenchRig::create(loaded, compute, {result.test}, &recorder));
  RETURN_IF_ERROR(rig->run_typical_step(result.test));
  for (const OpTotal& op : recorder.recording().ops) {
    result.bytes += op.bytes;
    const bool product = op.subject.op != "attention";
    if (!product || op.operations == 0) continue;
    result.peak_seconds += op.operations / roofline.peak_of(op.subject.format, op.subject.in);
  }
  result.dram_seconds = result.bytes / roofline.bandwidth;
  return absl::OkStatus();
}

absl::StatusOr<BenchProfile> profile_of(const Loaded& loaded, const ComputeOptions& compute,
                                        const BenchTest& test) {
  const RealClock clock;
  const CpuOps cpu(kernels_for(loaded.isa));
  Recorder recorder(cpu, loaded.lanes->lanes(), clock);
  ASSIGN_OR_RETURN(const auto rig, BenchRig::create(loaded, compute, {test}, &recorder));
  if (test.depth > 0) RETURN_IF_ERROR(rig->fill_below(test.depth));
  RETURN_IF_ERROR(rig->run(test));
  recorder.clear();
  const Instant start = clock.now();
  RETURN_IF_ERROR(rig->run(test));
  const absl::Duration time = clock.now() - start;
  return BenchProfile{.test = test,
                      .recording = recorder.recording(),
                      .steps = test.prompt ? 1 : test.tokens,
                      .lanes = loaded.lanes->lanes(),
                      .time = time};
}

struct Speed {
  double tokens_per_s = 0;
  double streamed_per_s = 0;
};

absl::StatusOr<Speed> speed_of(BenchRig& rig, const BenchTest& test, const Loaded& loaded,
                               const BusyCpus* busy) {
  const RealClock clock;
  const auto streamed = [&] {
    return loaded.model->streamed() ? loaded.model->streamed()->bytes_read() : 0;
  };
  if (test.busy) busy->resume();
  const int64_t before = streamed();
  const Instant start = clock.now();
  const absl::Status ran = rig.run(test);
  const Instant end = clock.now();
  const int64_t after = streamed();
  if (test.busy) busy->rest();
  RETURN_IF_ERROR(ran);
  const double seconds = absl::ToDoubleSeconds(end - start);
  return Speed{static_cast<double>(test.all_tokens()) / seconds,
               static_cast<double>(after - before) / seconds};
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

double BenchResult::median() const { return median_of(tokens_per_s); }

double BenchResult::least() const { return *std::ranges::min_element(tokens_per_s); }
double BenchResult::most() const { return *std::ranges::max_element(tokens_per_s); }

double BenchResult::disk_percent(double disk_bytes_per_s) const {
  return median_of(streamed_per_s) / disk_bytes_per_s * 100;
}

double BenchResult::roofline_percent() const {
  const double tokens = static_cast<double>(test.prompt ? test.tokens : test.batch);
  return std::max(peak_seconds, dram_seconds) * median() / tokens * 100;
}

std::optional<double> BenchMeasured::contended_ratio() const {
  const auto busy = std::ranges::find_if(results, [](const auto& r) { return r.test.busy; });
  const auto quiet = std::ranges::find_if(results, [](const BenchResult& result) {
    return !result.test.prompt && result.test.batch == 1 && result.test.depth == 0;
  });
  if (busy == results.end() || quiet == results.end() || quiet->test.busy) return std::nullopt;
  return busy->median() / quiet->median();
}

absl::StatusOr<BenchMeasured> measure_all(const BenchOptions& options, const Loaded& loaded,
                                          const BusyCpus* busy) {
  BenchMeasured measured;
  for (const BenchTest& test : tests_of(options)) measured.results.emplace_back().test = test;
  ASSIGN_OR_RETURN(const RooflineProbe probe, RooflineProbe::create(loaded.isa, *loaded.lanes));
  Progress progress("measuring");
  const auto rounds = static_cast<double>(options.repeat + 1);
  ASSIGN_OR_RETURN(const Rigs rigs, make_rigs(loaded, options.compute, tests_of(options)));
  for (BenchResult& result : measured.results) {
    RETURN_IF_ERROR(speed_of(rigs.of(result.test), result.test, loaded, busy).status());
  }
  const ForeignCpu foreign;
  std::vector<Roofline> rooflines;
  std::vector<double> disks;
  const StreamedWeights* const streamed = loaded.model->streamed();
  for (int64_t round = 0; round < options.repeat; ++round) {
    progress.update(static_cast<double>(round + 1) / rounds);
    rooflines.push_back(probe.measure());
    if (streamed != nullptr) {
      ASSIGN_OR_RETURN(disks.emplace_back(),
                       streamed->measured_bytes_per_second(absl::Milliseconds(500)));
    }
    for (BenchResult& result : measured.results) {
      ASSIGN_OR_RETURN(const Speed speed,
                       speed_of(rigs.of(result.test), result.test, loaded, busy));
      result.tokens_per_s.push_back(speed.tokens_per_s);
      if (streamed != nullptr) result.streamed_per_s.push_back(speed.streamed_per_s);
    }
  }
  if (streamed != nullptr) measured.disk = median_of(disks);
  measured.foreign_cpus = foreign.cpus();
  measured.roofline = median_of(rooflines);
  for (BenchResult& result : measured.results) {
    RETURN_IF_ERROR(count_work(loaded, options.compute, measured.roofline, result));
    if (!options.profile) continue;
    ASSIGN_OR_RETURN(measured.profiles.emplace_back(),
                     profile_of(loaded, options.compute, result.test));
  }
  return measured;
}

}  // namespace millrace
