#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/commands/bench/measured.h"

namespace millrace {

// One kind of work in a step: an op with its shape, or what lies between ops. Times are those of
// one step, means of the lanes', so that all lines together are the step.
struct ProfileLine {
  std::string op;
  std::string shape;   // "1 x 576 -> 1536"
  std::string format;  // of weights and activations: "Q4_1 x q8"
  int64_t calls = 0;   // in a step
  double ms = 0;
  double percent = 0;  // of the step
  double gigabytes_per_s = 0;
  double gigaoperations_per_s = 0;
};

// The ops in the order of a step, then barriers, waits and the rest.
std::vector<ProfileLine> profile_lines(const BenchProfile& profile);
std::string profile_table(const BenchProfile& profile);

}  // namespace millrace
