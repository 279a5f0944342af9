#include "base/system/file_bytes.h"

#include <array>
#include <filesystem>
#include <fstream>
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

TEST_F(FileBytesTest, SaysWhatCannotBeOpened) {
  EXPECT_EQ(FileBytes::open("/no/such/file").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message_of(FileBytes::open("/tmp").status()), HasSubstr("'/tmp' is a folder"));
  EXPECT_THAT(message_of(FileBytes::open("/dev/null").status()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace millrace
