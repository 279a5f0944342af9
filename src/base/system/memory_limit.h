#pragma once

#include <cstdint>
#include <optional>

#include "base/system/cgroups.h"

namespace millrace {

// Bytes of memory that this process may use in all: physical memory, cut to the limits of its
// control groups and to its own (RLIMIT_AS, RLIMIT_DATA).
int64_t usable_memory_bytes(const Cgroups& cgroups = Cgroups());

// Bytes that this process's own limits (RLIMIT_AS, which is `ulimit -v`, and RLIMIT_DATA) leave it
// now: what is reserved counts, touched or not. None without such a limit.
std::optional<int64_t> reservable_bytes();

}  // namespace millrace
