#include "tensor/huge_pages.h"

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <fmt/format.h>

namespace millrace {
namespace {

// Of "always [madvise] never" the one in brackets; empty where the file cannot be read.
std::string chosen_in(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  const size_t begin = line.find('[');
  const size_t end = line.find(']', begin);
  if (begin == std::string::npos || end == std::string::npos) return {};
  return line.substr(begin + 1, end - begin - 1);
}

// Empty: it may have some.
std::string why_none_ever(const std::string& settings) {
  const std::string enabled = chosen_in(settings + "/enabled");
  if (enabled.empty()) return "this system has none (no " + settings + "/enabled)";
  if (enabled == "never") return settings + "/enabled is never";
  if (::prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1) return "switched off for this process (prctl)";
  return {};
}

}  // namespace

PageUse page_use(std::span<const std::byte> memory) {
  const auto begin = reinterpret_cast<uintptr_t>(memory.data());
  const uintptr_t end = begin + memory.size();
  PageUse use;
  bool is_within = false;
  std::ifstream mappings("/proc/self/smaps");
  for (std::string line; std::getline(mappings, line);) {
    uintptr_t first = 0, last = 0;
    int64_t kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &first, &last) == 2) {
      is_within = first >= begin && first < end;
    } else if (is_within && std::sscanf(line.c_str(), "Rss: %" SCNd64 " kB", &kib) == 1) {
      use.resident += kib * 1024;
    } else if (is_within && std::sscanf(line.c_str(), "AnonHugePages: %" SCNd64 " kB", &kib) == 1) {
      use.huge += kib * 1024;
    }
  }
  return use;
}

void avoid_huge_pages(std::span<std::byte> memory) {
  ::madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
}

void let_go(std::span<std::byte> memory) { ::madvise(memory.data(), memory.size(), MADV_DONTNEED); }

bool may_have_huge_pages(const std::string& settings) { return why_none_ever(settings).empty(); }

std::string why_no_huge_pages(const std::string& settings) {
  if (std::string why = why_none_ever(settings); !why.empty()) return why;
  return fmt::format("no free memory in such pieces; {}/defrag is {}", settings,
                     chosen_in(settings + "/defrag"));
}

}  // namespace millrace
