#include "base/system/file_bytes.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::HasSubstr;

class FileBytesTest : public testing::Test {
 protected:
  FileBytesTest() { std::ofstream(path_, std::ios::binary) << "0123456789"; }
  ~FileBytesTest() override { std::filesystem::remove(path_); }

  const std::string path_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-bytes-{}", ::getpid());
};

std::string text_at(const FileBytes& file, uint64_t offset, size_t size) {
  std::string text(size, ' ');
  const absl::Status status = file.read(offset, std::as_writable_bytes(std::span(text)));
  return status.ok() ? text : std::string(message_of(status));
}

TEST_F(FileBytesTest, ReadsFilesAndMemory) {
  const auto opened = FileBytes::open(path_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::string memory = "0123456789";
  const FileBytes held(std::as_bytes(std::span(memory)));
  for (const FileBytes* file : {&*opened, &held}) {
    EXPECT_EQ(file->size(), 10U);
    EXPECT_EQ(text_at(*file, 0, 10), "0123456789");
    EXPECT_EQ(text_at(*file, 7, 3), "789");
    EXPECT_EQ(text_at(*file, 10, 0), "");
  }
  EXPECT_TRUE(opened->memory().empty());
  EXPECT_EQ(held.memory().size(), 10U);
}

TEST_F(FileBytesTest, AShrunkFileIsAnError) {
  auto file = FileBytes::open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  const FileBytes moved = std::move(*file);
  std::filesystem::resize_file(path_, 4);
  EXPECT_EQ(text_at(moved, 0, 4), "0123");
  std::array<std::byte, 5> out;
  const absl::Status status = moved.read(3, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(message_of(status), HasSubstr("became shorter while it was read"));
}

struct alignas(kDirectAlignment) Pages {
  std::array<std::byte, 3 * kDirectAlignment> bytes;
};

TEST_F(FileBytesTest, ReadsPastThePageCache) {
  std::string text(2 * kDirectAlignment + 10, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 >> 3);
  std::ofstream(path_, std::ios::binary) << text;
  auto file = FileBytes::open(path_).value();
  file.bypass_page_cache();  // whether or not it can, what is read is the same
  const FileBytes moved = std::move(file);
  const auto pages = std::make_unique<Pages>();
  for (const size_t offset : {size_t{0}, size_t{kDirectAlignment}, size_t{2 * kDirectAlignment}}) {
    const std::span<std::byte> out = std::span(pages->bytes).first(text.size() - offset);
    ASSERT_EQ(moved.read(offset, out), absl::OkStatus());
    EXPECT_EQ(std::memcmp(out.data(), text.data() + offset, out.size()), 0) << offset;
  }
  std::filesystem::resize_file(path_, kDirectAlignment + 5);
  EXPECT_TRUE(absl::IsDataLoss(moved.read(0, std::span(pages->bytes).first(text.size()))));
}

// Files of the kernel's own cannot be read otherwise.
TEST_F(FileBytesTest, SaysWhereThePageCacheCannotBePassed) {
  auto file = FileBytes::open("/sys/kernel/mm/transparent_hugepage/enabled");
  if (!file.ok()) GTEST_SKIP() << file.status();
  EXPECT_FALSE(file->bypass_page_cache());
  EXPECT_THAT(text_at(*file, 0, 7), HasSubstr("always"));
}

TEST_F(FileBytesTest, SaysWhatCannotBeOpened) {
  EXPECT_EQ(FileBytes::open("/no/such/file").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message_of(FileBytes::open("/tmp").status()), HasSubstr("'/tmp' is a folder"));
  EXPECT_THAT(message_of(FileBytes::open("/dev/null").status()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace millrace
