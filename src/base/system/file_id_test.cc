#include "base/system/file_id.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(FileIdTest, OnlyTheFileThatWasMeantIsRemoved) {
  const std::string path = testing::TempDir() + "file_id_test";
  const std::string moved = path + ".moved";
  EXPECT_EQ(file_id(path), FileId());
  std::ofstream(path) << "first";
  const FileId first = file_id(path);
  EXPECT_NE(first, FileId());
  std::filesystem::rename(path, moved);
  std::ofstream(path) << "second";
  EXPECT_NE(file_id(path), first);
  remove_file(path, first);
  remove_file(path, FileId());
  EXPECT_TRUE(std::filesystem::exists(path));
  remove_file(path, file_id(path));
  EXPECT_FALSE(std::filesystem::exists(path));
  remove_file(moved, first);
  EXPECT_FALSE(std::filesystem::exists(moved));
}

}  // namespace
}  // namespace millrace
