#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/checkpoint.h"
#include "files/gguf_writer.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

struct PartSaid {
  int64_t number = 0, count = 3, tensors = 4;
  std::string name = "a model";
};

class GgufPartsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_);
    write(1, {.number = 0}, {"a", "b"});
    write(2, {.number = 1}, {"c"});
    write(3, {.number = 2}, {"d"});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(int number, int count = 3) const {
    return fmt::format("{}/m-{:05}-of-{:05}.gguf", folder_, number, count);
  }

  void write(int number, const PartSaid& said, const std::vector<std::string>& names) {
    write_to(path(number), said, names);
  }
  // Each tensor holds the letter that is its name.
  static void write_to(const std::string& path, const PartSaid& said,
                       const std::vector<std::string>& names) {
    Metadata metadata;
    metadata.set_integer("split.no", MetaType::kU16, said.number);
    metadata.set_integer("split.count", MetaType::kU16, said.count);
    metadata.set_integer("split.tensors.count", MetaType::kI32, said.tensors);
    metadata.set_string("general.name", said.name);
    std::vector<TensorSource> tensors;
    std::vector<std::vector<float>> values;
    for (const std::string& name : names) values.emplace_back(4, static_cast<float>(name[0]));
    for (size_t i = 0; i < names.size(); ++i) {
      const auto* bytes = reinterpret_cast<const std::byte*>(values[i].data());
      tensors.push_back({names[i], TensorView{{DType::kF32, 1, {4, 1, 1, 1}}, bytes}});
    }
    ASSERT_EQ(write_gguf(path, metadata, tensors), absl::OkStatus());
  }

  std::string error(int number = 1) const {
    const auto opened = Checkpoint::open(path(number));
    return opened.ok() ? "accepted" : std::string(message_of(opened.status()));
  }

  const std::string folder_ =
      (std::filesystem::temp_directory_path() / fmt::format("parts-{}", ::getpid())).string();
};

TEST_F(GgufPartsTest, AnyPartOpensAll) {
  for (const int number : {1, 2, 3}) {
    const auto checkpoint = Checkpoint::open(path(number));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->files().size(), 3u);
    EXPECT_EQ(checkpoint->metadata().integer("split.no", 0, 9).value(), 0);
    ASSERT_EQ(checkpoint->tensors().size(), 4u);
    for (const std::string name : {"a", "b", "c", "d"}) {
      const NamedTensor* tensor = checkpoint->find(name);
      ASSERT_NE(tensor, nullptr);
      const auto bytes = checkpoint->read(*tensor).value();
      EXPECT_EQ(*reinterpret_cast<const float*>(bytes.data()), static_cast<float>(name[0]));
    }
  }
}

TEST_F(GgufPartsTest, PartsThatAreMissingOrAnothersAreNamed) {
  std::filesystem::remove(path(2));
  EXPECT_THAT(error(), HasSubstr("part 2 of 3, '" + path(2) + "': cannot open"));
  EXPECT_EQ(Checkpoint::open(path(3)).status().code(), absl::StatusCode::kNotFound);
  write(2, {.number = 0}, {"c"});
  EXPECT_THAT(error(), HasSubstr("says that it is part 1 of 3, but is named part 2 of 3"));
  write(2, {.number = 1, .count = 2}, {"c"});
  EXPECT_THAT(error(), HasSubstr("says that it is part 2 of 2"));
  write(2, {.number = 1, .tensors = 5}, {"c"});
  EXPECT_THAT(error(), HasSubstr("a model of 5 tensors"));
  write(2, {.number = 1, .name = "another"}, {"c"});
  EXPECT_THAT(error(), HasSubstr("another model: key 'general.name' is 'another'"));
  write(2, {.number = 1}, {"a"});
  EXPECT_THAT(error(), HasSubstr("'" + path(2) + "': tensor 'a' is in an earlier part too"));
  write(2, {.number = 1}, {"c", "e"});
  EXPECT_THAT(error(), HasSubstr("the 3 parts hold 5 tensors, but say 4"));
  write(2, {.number = 1}, {"c"});
  EXPECT_EQ(error(), "accepted");
}

TEST_F(GgufPartsTest, NamesMustSayThePart) {
  write_to(folder_ + "/other.gguf", {.number = 1}, {"c"});
  const auto opened = Checkpoint::open(folder_ + "/other.gguf");
  EXPECT_THAT(opened.status().ToString(), HasSubstr("NAME-00002-of-00003.gguf"));
  write_to(folder_ + "/other.gguf", {.number = 0, .count = 1, .tensors = 1}, {"c"});
  EXPECT_TRUE(Checkpoint::open(folder_ + "/other.gguf").ok());
}

}  // namespace
}  // namespace millrace
