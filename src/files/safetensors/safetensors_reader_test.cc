#include "files/safetensors/safetensors_reader.h"

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::HasSubstr;

std::string file_of(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  return file.append(header).append(data_bytes, '\1');
}

absl::StatusOr<std::vector<StoredTensor>> read(const std::string& bytes) {
  // On the heap and exactly as long, so that sanitizers see a read beyond.
  const std::vector<char> exact(bytes.begin(), bytes.end());
  CheckpointFile file = {FileBytes(std::as_bytes(std::span(exact))), {}};
  return read_safetensors(file);
}

std::string error_of(std::string_view header, size_t data_bytes) {
  const auto tensors = read(file_of(header, data_bytes));
  return tensors.ok() ? "accepted" : std::string(message_of(tensors.status()));
}

constexpr std::string_view kHonest =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
    R"("none":{"dtype":"I64","shape":[0,7],"data_offsets":[8,8]},)"
    R"("a.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}   )";

TEST(SafetensorsReader, ReadsWhatAFileSays) {
  const auto tensors = read(file_of(kHonest, 12)).value();
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "a.weight");
  EXPECT_EQ(tensors[0].type, "BF16");
  EXPECT_EQ(tensors[0].dtype, DType::kBF16);
  EXPECT_THAT(tensors[0].shape, ::testing::ElementsAre(2, 2));
  EXPECT_EQ(tensors[0].offset, 8 + kHonest.size());
  EXPECT_EQ(tensors[0].bytes, 8u);
  EXPECT_EQ(tensors[1].name, "none");
  EXPECT_EQ(tensors[1].dtype, std::nullopt);
  EXPECT_EQ(tensors[2].name, "b");
  EXPECT_EQ(tensors[2].offset, 16 + kHonest.size());
  EXPECT_TRUE(tensors[2].shape.empty());
}

TEST(SafetensorsReader, RefusesLies) {
  const auto with = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return fmt::format(R"({{"x":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                       offsets);
  };
  EXPECT_EQ(error_of(with("U8", "[4]", "[0,4]"), 4), "accepted");
  EXPECT_EQ(error_of("{}", 0), "accepted");
  EXPECT_THAT(error_of("{}", 1), HasSubstr("the last 1 bytes of the file are of no tensor"));
  EXPECT_THAT(error_of("[]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of("{", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(std::string_view("{}\0", 3), 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"format":1}})", 0), HasSubstr("not a string"));
  EXPECT_THAT(error_of(std::string(100, '['), 0), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(with("U8", "[4]", "[0,4]"), 3), HasSubstr("tensor 'x': its bytes 0 to 4"));
  EXPECT_THAT(error_of(with("U8", "[4]", "[4,0]"), 4), HasSubstr("tensor 'x': its bytes 4 to 0"));
  EXPECT_THAT(error_of(with("U8", "[4]", "[0,18446744073709551615]"), 4), HasSubstr("x.data_off"));
  EXPECT_THAT(error_of(with("U8", "[4]", "[-1,4]"), 4), HasSubstr("x.data_offsets[0]"));
  EXPECT_THAT(error_of(with("U8", "[4]", "[0]"), 4), HasSubstr("two 'data_offsets'"));
  EXPECT_THAT(error_of(with("U8", "[4]", "[0,1,4]"), 4), HasSubstr("at most 2"));
  EXPECT_THAT(error_of(with("U8", "[5]", "[0,4]"), 4), HasSubstr("a shape of [5] in U8"));
  EXPECT_THAT(error_of(with("F32", "[4]", "[0,4]"), 4), HasSubstr("a shape of [4] in F32"));
  EXPECT_THAT(error_of(with("F4", "[3]", "[0,1]"), 1), HasSubstr("a shape of [3] in F4"));
  EXPECT_EQ(error_of(with("F4", "[4]", "[0,2]"), 2), "accepted");
  EXPECT_THAT(error_of(with("F64", "[281474976710656,281474976710656]", "[0,8]"), 8),
              HasSubstr("does not have"));
  EXPECT_THAT(error_of(with("U8", "[9000000000000000000]", "[0,4]"), 4), HasSubstr("x.shape[0]"));
  EXPECT_THAT(error_of(with("U8", "[-4]", "[0,4]"), 4), HasSubstr("x.shape[0]"));
  EXPECT_THAT(error_of(with("U8", "[1.5]", "[0,4]"), 4), HasSubstr("x.shape[0]"));
  EXPECT_THAT(error_of(with("U8", "[1,1,1,1,1,1,1,1,4]", "[0,4]"), 4), HasSubstr("9 numbers"));
  EXPECT_THAT(error_of(with("Q9", "[4]", "[0,4]"), 4), HasSubstr("element type 'Q9'"));
  EXPECT_THAT(error_of(R"({"x":{"dtype":"U8","shape":[1]}})", 1), HasSubstr("x.data_offsets"));
  EXPECT_THAT(error_of(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", 1),
              HasSubstr("has not just"));
  EXPECT_THAT(error_of(R"({"x":7})", 1), HasSubstr("x is"));
}

TEST(SafetensorsReader, RefusesOverlapsHolesAndNamesThatAppearTwice) {
  const auto two = [](std::string_view a, std::string_view b, std::string_view name) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},)"
                       R"("{}":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
                       a, name, b);
  };
  EXPECT_EQ(error_of(two("[0,4]", "[4,8]", "b"), 8), "accepted");
  EXPECT_THAT(error_of(two("[0,4]", "[3,7]", "b"), 7), HasSubstr("'b': overlaps tensor 'a'"));
  EXPECT_THAT(error_of(two("[0,4]", "[0,4]", "b"), 4), HasSubstr("overlaps"));
  EXPECT_THAT(error_of(two("[0,4]", "[5,9]", "b"), 9), HasSubstr("1 bytes before it"));
  EXPECT_THAT(error_of(two("[1,5]", "[5,9]", "b"), 9), HasSubstr("1 bytes before it"));
  EXPECT_THAT(error_of(two("[0,4]", "[4,8]", "b"), 9), HasSubstr("the last 1 bytes"));
  EXPECT_THAT(error_of(two("[0,4]", "[4,8]", "a"), 8), HasSubstr("the key 'a' twice"));
  const std::string broken = R"(a\nb)";
  EXPECT_THAT(error_of(fmt::format(R"({{"{0}":1,"{0}":2}})", broken), 8),
              HasSubstr(R"(the key "a\nb" twice)"));
}

TEST(SafetensorsReader, EveryCutAndFlipIsReadOrOneLine) {
  const std::string file = file_of(kHonest, 12);
  for (size_t size = 0; size < file.size(); ++size) {
    const auto tensors = read(file.substr(0, size));
    ASSERT_FALSE(tensors.ok()) << size;
    EXPECT_EQ(message_of(tensors.status()).find('\n'), std::string_view::npos);
  }
  for (size_t at = 0; at < file.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x10, 0x40, 0x80, 0xff}) {
      std::string flipped = file;
      flipped[at] = static_cast<char>(flipped[at] ^ flip);
      const auto tensors = read(flipped);
      if (tensors.ok()) continue;
      for (const char c : message_of(tensors.status())) EXPECT_TRUE(c >= ' ' && c <= '~') << at;
    }
  }
  std::string long_header = file;
  const uint64_t length = uint64_t{1} << 40;
  std::memcpy(long_header.data(), &length, sizeof length);
  EXPECT_THAT(read(long_header).status().ToString(), HasSubstr("at most 100000000 expected"));
}

}  // namespace
}  // namespace millrace
