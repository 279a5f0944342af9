#pragma once

#include <string>
#include <string_view>

namespace millrace {

// How many CPUs this process may use: its affinity mask, cut to the cgroup's quota (v1 or v2), at
// least 1.
int usable_cpus();

// The quota of a cgroup v2 `cpu.max` line ("max 100000", "150000 100000") in whole CPUs rounded
// down but at least 1; 0 when there is no limit or the line is not understood.
int cpus_of_cgroup_quota(std::string_view cpu_max);

// Bytes of memory this process may use: physical memory, cut to the cgroup's limit.
long long usable_memory_bytes();

}  // namespace millrace
