#include "base/system/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sys/resource.h>
#include <unistd.h>

namespace millrace {
namespace {

std::optional<int64_t> process_limit(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return std::nullopt;
  if (limit.rlim_cur > static_cast<rlim_t>(std::numeric_limits<int64_t>::max())) {
    return std::nullopt;  // RLIM_INFINITY
  }
  return static_cast<int64_t>(limit.rlim_cur);
}

struct Reserved {
  int64_t address_space = 0;
  int64_t data = 0;
};

Reserved reserved() {
  // Pages: size, resident, shared, text, 0, data and stack.
  std::ifstream file("/proc/self/statm");
  int64_t skipped = 0;
  Reserved pages;
  file >> pages.address_space >> skipped >> skipped >> skipped >> skipped >> pages.data;
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  return {pages.address_space * page, pages.data * page};
}

}  // namespace

int64_t usable_memory_bytes(const Cgroups& cgroups) {
  int64_t bytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  for (const std::optional<int64_t> limit :
       {cgroups.memory_bytes(), process_limit(RLIMIT_AS), process_limit(RLIMIT_DATA)}) {
    if (limit) bytes = std::min(bytes, *limit);
  }
  return bytes;
}

std::optional<int64_t> reservable_bytes() {
  const auto address_space = process_limit(RLIMIT_AS);
  const auto data = process_limit(RLIMIT_DATA);
  if (!address_space && !data) return std::nullopt;
  const Reserved now = reserved();
  int64_t left = std::numeric_limits<int64_t>::max();
  if (address_space) left = std::min(left, *address_space - now.address_space);
  if (data) left = std::min(left, *data - now.data);
  return std::max<int64_t>(0, left);
}

}  // namespace millrace
