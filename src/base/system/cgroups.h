#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// The limits of the control groups that hold this process, version 1 and 2: a group's limits hold
// for all within it, so the strictest from the process's own group up to the outermost that is
// visible. What cannot be read or understood sets no limit.
class Cgroups {
 public:
  // root: the folder in which /proc and the mounted hierarchies lie; empty for the system's own.
  explicit Cgroups(const std::string& root = "");

  // v2: memory.max and memory.high; v1: memory.limit_in_bytes.
  std::optional<int64_t> memory_bytes() const;
  // v2: cpu.max; v1: cpu.cfs_quota_us. In whole CPUs rounded down, but at least 1.
  std::optional<int64_t> cpus() const;

 private:
  // The process's group in one hierarchy and those around it, innermost first.
  struct Hierarchy {
    std::string controllers;  // with commas between; empty for v2
    std::vector<std::string> folders;
    bool has(std::string_view controller) const;
  };

  std::vector<Hierarchy> hierarchies_;
};

}  // namespace millrace
