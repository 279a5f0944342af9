#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace millrace {

inline constexpr int64_t kHugePageBytes = int64_t{2} << 20;  // of x86-64 and of most others

// What the system holds of a buffer's memory now.
struct PageUse {
  int64_t resident = 0;  // bytes that were touched
  int64_t huge = 0;      // of them on huge pages
};
// memory: whole buffers; one is a mapping of its own.
PageUse page_use(std::span<const std::byte> memory);

// From here on this memory, of whole pages and not touched so far, is on small ones.
void avoid_huge_pages(std::span<std::byte> memory);
// Gives the system back what holds these whole pages; they are zeros when they are touched again.
void let_go(std::span<std::byte> memory);

// Whether this process may have huge pages at all; `settings` as below.
bool may_have_huge_pages(const std::string& settings = "/sys/kernel/mm/transparent_hugepage");
// Why memory that asked for huge pages has none, as the system's settings tell it. `settings`: the
// folder of these.
std::string why_no_huge_pages(const std::string& settings = "/sys/kernel/mm/transparent_hugepage");

}  // namespace millrace
