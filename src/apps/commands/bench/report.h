#pragma once

#include <string>

#include "apps/commands/bench/measured.h"
#include "files/checkpoint.h"

namespace millrace {

std::string bench_table(const BenchOptions& options, const Loaded& loaded,
                        const Checkpoint& checkpoint, const BenchMeasured& measured);
std::string bench_json(const BenchOptions& options, const Loaded& loaded,
                       const Checkpoint& checkpoint, const BenchMeasured& measured);

}  // namespace millrace
