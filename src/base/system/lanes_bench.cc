#include <benchmark/benchmark.h>

#include "base/system/lanes.h"

// What sharing work costs beside the work: a job, a barrier, and a phase of one piece a lane, by
// lanes.

namespace millrace {
namespace {

constexpr int kRounds = 1000;

// Time of a round; the lanes take them within one job.
template <typename Round>
void run_rounds(benchmark::State& state, Round round) {
  LanePool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.run([&](Lane& lane) {
      for (int i = 0; i < kRounds; ++i) round(lane);
    });
  }
  state.counters["round"] = benchmark::Counter(
      kRounds, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void job(benchmark::State& state) {
  LanePool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) pool.run([](Lane& lane) { benchmark::DoNotOptimize(lane.index()); });
}

void barrier_of_lanes(benchmark::State& state) {
  run_rounds(state, [](Lane& lane) {
    benchmark::DoNotOptimize(lane.index());
    lane.barrier();
  });
}

void phase_of_pieces(benchmark::State& state) {
  run_rounds(state, [](Lane& lane) {
    lane.for_each_piece(lane.count(), 1, [](WorkRange piece) { benchmark::DoNotOptimize(piece); });
    lane.barrier();
  });
}

BENCHMARK(job)->Arg(2)->Arg(4)->UseRealTime();
BENCHMARK(barrier_of_lanes)->Arg(2)->Arg(4)->UseRealTime();
BENCHMARK(phase_of_pieces)->Arg(2)->Arg(4)->UseRealTime();

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
