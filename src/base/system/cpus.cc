#include "base/system/cpus.h"

#include <algorithm>
#include <sched.h>
#include <unistd.h>

namespace millrace {

int usable_cpus(const Cgroups& cgroups) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const int64_t cpus = ::sched_getaffinity(0, sizeof mask, &mask) == 0
                           ? CPU_COUNT(&mask)
                           : ::sysconf(_SC_NPROCESSORS_ONLN);
  return static_cast<int>(std::max<int64_t>(1, std::min(cpus, cgroups.cpus().value_or(cpus))));
}

}  // namespace millrace
