#include "tensor/huge_pages.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tensor/buffer.h"

namespace millrace {
namespace {

std::span<const std::byte> span_of(const Buffer& buffer) {
  return {buffer.data(), static_cast<size_t>(buffer.size())};
}

TEST(PageUse, CountsWhatOneBufferTouchedAndNotItsNeighbours) {
  const Buffer before = Buffer::allocate(8 * kHugePageBytes).value();
  const Buffer buffer = Buffer::allocate(8 * kHugePageBytes).value();
  const Buffer after = Buffer::allocate(8 * kHugePageBytes).value();
  std::memset(before.data(), 1, static_cast<size_t>(before.size()));
  std::memset(after.data(), 1, static_cast<size_t>(after.size()));
  EXPECT_EQ(page_use(span_of(buffer)).resident, 0);
  std::memset(buffer.data(), 1, static_cast<size_t>(3 * kHugePageBytes));
  const PageUse use = page_use(span_of(buffer));
  EXPECT_EQ(use.resident, 3 * kHugePageBytes);
  EXPECT_LE(use.huge, use.resident);
  EXPECT_EQ(use.huge % kHugePageBytes, 0);
  EXPECT_EQ(page_use(span_of(before)).resident, before.size());
}

TEST(PageUse, EveryBufferBeginsWithAHugePage) {
  for (const int64_t bytes : {int64_t{1}, int64_t{4097}, kHugePageBytes, 3 * kHugePageBytes + 5}) {
    const Buffer buffer = Buffer::allocate(bytes).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kHugePageBytes, 0u) << bytes;
  }
}

TEST(BufferDeathTest, NothingLiesBesideIt) {
  const Buffer buffer = Buffer::allocate(4096).value();
  EXPECT_DEATH(buffer.data()[4096] = std::byte{1}, "");
  EXPECT_DEATH(*(buffer.data() - 1) = std::byte{1}, "");
}

TEST(WhyNoHugePages, SaysWhatTheSettingsAre) {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("millrace-huge-pages-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const auto set = [&](const char* name, const char* text) {
    std::ofstream(folder / name) << text << "\n";
  };
  EXPECT_EQ(why_no_huge_pages(folder.string()),
            "this system has none (no " + folder.string() + "/enabled)");
  set("enabled", "always madvise [never]");
  EXPECT_EQ(why_no_huge_pages(folder.string()), folder.string() + "/enabled is never");
  set("enabled", "always [madvise] never");
  set("defrag", "always defer defer+madvise [madvise] never");
  EXPECT_EQ(why_no_huge_pages(folder.string()),
            "no free memory in such pieces; " + folder.string() + "/defrag is madvise");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace
