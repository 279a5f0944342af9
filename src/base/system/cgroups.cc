#include "base/system/cgroups.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace millrace {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A limit is a number above zero; "max", "-1" and what is no number are none.
std::optional<int64_t> limit_in(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value <= 0) return std::nullopt;
  return value;
}

std::optional<int64_t> cpus_of(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota || !period) return std::nullopt;
  return std::max<int64_t>(1, *quota / *period);
}

std::optional<int64_t> cpus_v1(const std::string& folder) {
  return cpus_of(limit_in(first_line(folder + "/cpu.cfs_quota_us")),
                 limit_in(first_line(folder + "/cpu.cfs_period_us")));
}

std::optional<int64_t> cpus_v2(const std::string& folder) {
  const std::string line = first_line(folder + "/cpu.max");
  const size_t space = line.find(' ');
  if (space == std::string::npos) return std::nullopt;
  return cpus_of(limit_in(std::string_view(line).substr(0, space)),
                 limit_in(std::string_view(line).substr(space + 1)));
}

void tighten(std::optional<int64_t> limit, std::optional<int64_t>& strictest) {
  if (limit && (!strictest || *limit < *strictest)) strictest = limit;
}

bool lists(std::string_view names, std::string_view name) {
  for (size_t at = 0; at <= names.size();) {
    const size_t comma = std::min(names.find(',', at), names.size());
    if (names.substr(at, comma - at) == name) return true;
    at = comma + 1;
  }
  return false;
}

// A line of /proc/self/mountinfo writes spaces, tabs, line ends and backslashes as \040 and so on.
std::string unescaped(std::string_view field) {
  std::string out;
  for (size_t i = 0; i < field.size(); ++i) {
    int code = 0;
    const char* digits = field.data() + i + 1;
    if (field[i] == '\\' && i + 3 < field.size() &&
        std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      out.push_back(static_cast<char>(code));
      i += 3;
    } else {
      out.push_back(field[i]);
    }
  }
  return out;
}

// Where a hierarchy, or a part of it, is mounted.
struct Mount {
  std::string root;   // the group that is mounted
  std::string point;  // where
  bool v2 = false;
  std::string options;  // v1: with its controllers among them
};

// "36 35 98:0 /root /mount/point rw master:1 - cgroup source rw,memory"
std::optional<Mount> mount_of(const std::string& line) {
  std::istringstream fields(line);
  std::string skipped;
  std::string type;
  Mount mount;
  fields >> skipped >> skipped >> skipped >> mount.root >> mount.point;
  while (fields >> skipped && skipped != "-") {
  }
  fields >> type >> skipped >> mount.options;
  if (type != "cgroup" && type != "cgroup2") return std::nullopt;
  mount.v2 = type == "cgroup2";
  mount.root = unescaped(mount.root);
  mount.point = unescaped(mount.point);
  return mount;
}

bool mounts(const Mount& mount, std::string_view controllers) {
  if (controllers.empty() || mount.v2) return controllers.empty() && mount.v2;
  // All controllers of a hierarchy are mounted together.
  return lists(mount.options, controllers.substr(0, controllers.find(',')));
}

// From the group `path` up to the one that is mounted; that alone where `path` is not within it, as
// in a namespace of groups whose own mount is elsewhere.
std::vector<std::string> folders_of(const Mount& mount, std::string_view path) {
  const std::string_view root = mount.root == "/" ? "" : std::string_view(mount.root);
  const bool within = path.starts_with(root) && path.substr(root.size()).starts_with('/');
  std::string below(within ? path.substr(root.size()) : "");
  std::vector<std::string> folders;
  while (below.size() > 1) {
    folders.push_back(mount.point + below);
    below.resize(below.rfind('/'));
  }
  folders.push_back(mount.point);
  return folders;
}

}  // namespace

bool Cgroups::Hierarchy::has(std::string_view controller) const {
  return lists(controllers, controller);
}

Cgroups::Cgroups(const std::string& root) {
  std::vector<Mount> mounted;
  std::ifstream mountinfo(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(mountinfo, line);) {
    if (auto mount = mount_of(line)) mounted.push_back(*std::move(mount));
  }
  std::ifstream groups(root + "/proc/self/cgroup");  // "4:cpu,cpuacct:/path"; v2: "0::/path"
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string_view path = std::string_view(line).substr(second + 1);
    for (const Mount& mount : mounted) {
      if (!mounts(mount, controllers)) continue;
      Hierarchy& hierarchy = hierarchies_.emplace_back();
      hierarchy.controllers = controllers;
      for (const std::string& folder : folders_of(mount, path)) {
        hierarchy.folders.push_back(root + folder);
      }
    }
  }
}

std::optional<int64_t> Cgroups::memory_bytes() const {
  std::optional<int64_t> least;
  for (const Hierarchy& hierarchy : hierarchies_) {
    for (const std::string& folder : hierarchy.folders) {
      if (hierarchy.controllers.empty()) {
        tighten(limit_in(first_line(folder + "/memory.max")), least);
        tighten(limit_in(first_line(folder + "/memory.high")), least);
      } else if (hierarchy.has("memory")) {
        tighten(limit_in(first_line(folder + "/memory.limit_in_bytes")), least);
      }
    }
  }
  return least;
}

std::optional<int64_t> Cgroups::cpus() const {
  std::optional<int64_t> least;
  for (const Hierarchy& hierarchy : hierarchies_) {
    for (const std::string& folder : hierarchy.folders) {
      if (hierarchy.controllers.empty()) {
        tighten(cpus_v2(folder), least);
      } else if (hierarchy.has("cpu")) {
        tighten(cpus_v1(folder), least);
      }
    }
  }
  return least;
}

}  // namespace millrace
