#pragma once

#include "base/system/cgroups.h"

namespace millrace {

// How many CPUs this process may use: its affinity mask, cut to the quota of its control groups, at
// least 1.
int usable_cpus(const Cgroups& cgroups = Cgroups());

}  // namespace millrace
