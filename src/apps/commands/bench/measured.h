#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "apps/commands/bench/busy_cpus.h"
#include "apps/commands/bench/rig.h"
#include "kernels/measure/recorder.h"
#include "kernels/measure/roofline.h"

namespace millrace {

struct BenchResult {
  BenchTest test;
  std::vector<double> tokens_per_s;  // [repeat]
  // What a step, or a whole prompt, does at least.
  double bytes = 0;         // of weights and cache that it reads
  double peak_seconds = 0;  // for its products at the peaks of their instructions
  double dram_seconds = 0;  // for its bytes at the memory's bandwidth
  // Of weights that are streamed, in each round; empty where none are.
  std::vector<double> streamed_per_s;

  double median() const;
  double least() const;
  double most() const;
  // Of the disk's speed, in percent.
  double disk_percent(double disk_bytes_per_s) const;
  // Of the time that the larger of the two limits allows, in percent.
  double roofline_percent() const;
  bool memory_bound() const { return dram_seconds >= peak_seconds; }
};

// Where the time of a test's steps went.
struct BenchProfile {
  BenchTest test;
  Recording recording;
  int64_t steps = 0;
  int lanes = 0;
  absl::Duration time;  // of all steps
};

struct BenchMeasured {
  std::vector<BenchResult> results;
  std::vector<BenchProfile> profiles;  // where they were asked for
  Roofline roofline;                   // median of the rounds'
  std::optional<double> disk;          // bytes a second of the pack, likewise, if it is streamed
  std::optional<double> foreign_cpus;  // busy processes of this bench counted too

  // Speed of generation beside busy processes to that without; none unless both were measured.
  std::optional<double> contended_ratio() const;
};

// Runs every test once to warm up, then `repeat` rounds of all tests and the roofline in turns.
// busy: at rest; null unless options.contended.
absl::StatusOr<BenchMeasured> measure_all(const BenchOptions& options, const Loaded& loaded,
                                          const BusyCpus* busy);

}  // namespace millrace
