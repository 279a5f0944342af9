#include "base/system/cpus.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sched.h>
#include <unistd.h>

namespace millrace {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<long long> parse(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The folder of this process under `/sys/fs/cgroup` for a controller; "" for v2's single hierarchy.
std::string cgroup_folder(std::string_view controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    if (line.substr(first + 1, second - first - 1) == controller) return line.substr(second + 1);
  }
  return "";
}

// The strictest value that `read` finds from the process's own group up to the root; inner groups
// may be looser.
template <typename Read>
long long strictest(std::string_view controller, const std::string& root, Read read) {
  long long least = 0;
  std::string folder = cgroup_folder(controller);
  while (true) {
    const long long value = read(root + folder);
    if (value > 0 && (least == 0 || value < least)) least = value;
    const size_t slash = folder.rfind('/');
    if (folder.empty() || slash == std::string::npos) return least;
    folder.resize(slash);
  }
}

int quota_v1(const std::string& folder) {
  const auto quota = parse(first_line(folder + "/cpu.cfs_quota_us"));
  const auto period = parse(first_line(folder + "/cpu.cfs_period_us"));
  if (!quota || !period || *quota <= 0 || *period <= 0) return 0;
  return static_cast<int>(std::max(1LL, *quota / *period));
}

}  // namespace

int cpus_of_cgroup_quota(std::string_view cpu_max) {
  const size_t space = cpu_max.find(' ');
  if (space == std::string_view::npos) return 0;
  const auto quota = parse(cpu_max.substr(0, space));
  const auto period = parse(cpu_max.substr(space + 1));
  if (!quota || !period || *quota <= 0 || *period <= 0) return 0;
  return static_cast<int>(std::max(1LL, *quota / *period));
}

int usable_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  int cpus = ::sched_getaffinity(0, sizeof mask, &mask) == 0
                 ? CPU_COUNT(&mask)
                 : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const auto limit = [&cpus](long long quota) {
    if (quota > 0) cpus = static_cast<int>(std::min<long long>(cpus, quota));
  };
  limit(strictest("", "/sys/fs/cgroup", [](const std::string& folder) {
    return cpus_of_cgroup_quota(first_line(folder + "/cpu.max"));
  }));
  limit(strictest("cpu,cpuacct", "/sys/fs/cgroup/cpu", quota_v1));
  return std::max(1, cpus);
}

long long usable_memory_bytes() {
  long long bytes = static_cast<long long>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  const auto limit = [&bytes](long long most) {
    if (most > 0) bytes = std::min(bytes, most);
  };
  limit(strictest("", "/sys/fs/cgroup", [](const std::string& folder) {
    return parse(first_line(folder + "/memory.max")).value_or(0);
  }));
  limit(strictest("memory", "/sys/fs/cgroup/memory", [](const std::string& folder) {
    return parse(first_line(folder + "/memory.limit_in_bytes")).value_or(0);
  }));
  return bytes;
}

}  // namespace millrace
