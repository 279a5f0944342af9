#include "files/gguf_reader.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/checkpoint.h"
#include "files/gguf_format.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Says anything, true or not.
class Liar {
 public:
  template <typename T>
  Liar& number(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Liar& u32(uint32_t value) { return number(value); }
  Liar& u64(uint64_t value) { return number(value); }
  Liar& string(std::string_view value) {
    u64(value.size());
    text.append(value);
    return *this;
  }
  Liar& header(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    text = gguf::kMagic;
    return u32(version).u64(tensors).u64(entries);
  }
  Liar& type(MetaType value) { return u32(static_cast<uint32_t>(value)); }
  Liar& tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
               uint64_t offset) {
    string(name).u32(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) u64(dimension);
    return u32(type).u64(offset);
  }
  Liar& data(size_t bytes, size_t alignment = 32) {
    text.resize((text.size() + alignment - 1) / alignment * alignment + bytes);
    return *this;
  }

  std::string text;
};

std::string error_of(const std::string& file) {
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::parse(bytes_of(file));
  return checkpoint.ok() ? "accepted" : std::string(message_of(checkpoint.status()));
}

// Two keys, one of them an array of strings, and three tensors of different types.
std::string honest_file() {
  Liar file;
  file.header(3, 3);
  file.string("general.architecture").type(MetaType::kString).string("llama");
  file.string("llama.block_count").type(MetaType::kU32).u32(2);
  file.string("tokenizer.ggml.tokens").type(MetaType::kArray).type(MetaType::kString).u64(3);
  file.string("a").string("").string("ccc");
  file.tensor("f32", {4, 2}, 0, 0).tensor("q8_0", {32, 1, 2}, 8, 32).tensor("what", {7}, 99, 128);
  return file.data(128 + 32).text;
}

// Reads everything that a checkpoint promises, for the sanitizers to see.
uint64_t touch(const Checkpoint& checkpoint) {
  uint64_t sum = 0;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    const std::vector<std::byte> bytes = checkpoint.read(tensor).value();
    for (const std::byte byte : bytes) sum += static_cast<uint64_t>(byte);
  }
  for (const auto& [key, value] : checkpoint.metadata().entries()) {
    sum += key.size();
    if (const auto* text = std::get_if<std::string_view>(&value.value)) {
      sum += std::hash<std::string_view>()(*text);
    }
  }
  return sum;
}

void expect_one_line(const absl::Status& status) {
  const std::string_view message = message_of(status);
  EXPECT_FALSE(message.empty());
  EXPECT_LE(message.size(), 500u);
  for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
}

TEST(GgufReader, ReadsWhatAFileSays) {
  const std::string file = honest_file();
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::parse(bytes_of(file));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->format(), "GGUF v3");
  EXPECT_EQ(checkpoint->file_bytes(), static_cast<int64_t>(file.size()));
  EXPECT_EQ(checkpoint->metadata().string("general.architecture").value(), "llama");
  EXPECT_EQ(checkpoint->metadata().strings("tokenizer.ggml.tokens")->size(), 3u);
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  const NamedTensor* tensor = checkpoint->find("q8_0");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->layout.rank, 3);
  EXPECT_THAT(tensor->layout.shape, ::testing::ElementsAre(2, 1, 32, 1));
  EXPECT_EQ(tensor->layout.bytes(), 68);
  EXPECT_EQ(tensor->file_offset % 32, 0u);
  EXPECT_EQ(checkpoint->find("what"), nullptr);
  ASSERT_EQ(checkpoint->unknown_tensors().size(), 1u);
  EXPECT_EQ(checkpoint->unknown_tensors()[0].name, "what");
  EXPECT_EQ(checkpoint->unknown_tensors()[0].gguf_type, 99u);
}

TEST(GgufReader, RefusesOtherFiles) {
  EXPECT_EQ(error_of(""), "the file is empty");
  EXPECT_EQ(error_of("GG"), "not a GGUF file: begins with \"GG\"");
  EXPECT_EQ(error_of("\x03\x04 and more than sixteen"),
            "not a GGUF file: begins with \"\\x03\\x04 and more than\"");
  EXPECT_THAT(error_of("GGUF"), HasSubstr("the file ends at byte 4"));
  EXPECT_THAT(error_of(Liar().header(0, 0, 1).text), HasSubstr("GGUF version 1; only"));
  EXPECT_THAT(error_of(Liar().header(0, 0, 4).text), HasSubstr("GGUF version 4; only"));
  EXPECT_THAT(error_of(Liar().header(0, 0, 0x03000000).text), HasSubstr("3 in big endian"));
  EXPECT_EQ(error_of(Liar().header(0, 0, 2).text), "accepted");
  EXPECT_EQ(Checkpoint::open("/no/such/file").status().code(), absl::StatusCode::kNotFound);
}

TEST(GgufReader, EveryCutIsOneLine) {
  const std::string file = honest_file();
  const size_t end_of_data = file.size() - 32;  // of the last tensor whose size is known
  for (size_t size = 0; size < file.size(); ++size) {
    // On the heap and exactly as long, so that sanitizers see a read beyond.
    const std::vector<std::byte> cut(bytes_of(file).begin(),
                                     bytes_of(file).begin() + static_cast<std::ptrdiff_t>(size));
    const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::parse(cut);
    EXPECT_TRUE(size >= end_of_data || !checkpoint.ok()) << size;
    if (!checkpoint.ok()) expect_one_line(checkpoint.status());
  }
}

TEST(GgufReader, EveryFlipIsReadOrOneLine) {
  const std::string file = honest_file();
  int accepted = 0;
  for (size_t at = 0; at < file.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x10, 0x40, 0x80, 0xff}) {
      std::string flipped = file;
      flipped[at] = static_cast<char>(flipped[at] ^ flip);
      const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::parse(bytes_of(flipped));
      if (checkpoint.ok()) {
        ++accepted;
        touch(*checkpoint);
      } else {
        expect_one_line(checkpoint.status());
      }
    }
  }
  EXPECT_GT(accepted, 0);  // flips inside names and data
}

constexpr uint64_t kHuge = ~uint64_t{0};

TEST(GgufReader, RefusesLiesAboutMetadata) {
  const auto with_entry = [](const std::function<void(Liar&)>& value) {
    Liar file;
    file.header(0, 1).string("key");
    value(file);
    return error_of(file.text);
  };
  EXPECT_THAT(error_of(Liar().header(kHuge, 0).text), HasSubstr("header at byte 8"));
  EXPECT_THAT(error_of(Liar().header(0, uint64_t{1} << 62).text),
              HasSubstr("metadata keys do not"));
  EXPECT_THAT(error_of(Liar().header(0, 1).u64(kHuge).data(64).text), HasSubstr("key 1 of 1"));
  EXPECT_THAT(
      with_entry([](Liar& f) { f.type(MetaType::kString).u64(1 << 20); }),
      HasSubstr("metadata key 'key' at byte 39: a string of 1048576 bytes, but 0 are left"));
  EXPECT_THAT(with_entry([](Liar& f) { f.u32(13); }), HasSubstr("unknown value type 13"));
  EXPECT_THAT(with_entry([](Liar& f) { f.type(MetaType::kBool).number<uint8_t>(2); }),
              HasSubstr("a bool is 2"));
  EXPECT_THAT(with_entry([](Liar& f) {
                f.type(MetaType::kArray).type(MetaType::kBool).u64(3);
                f.number<uint8_t>(1).number<uint8_t>(0).number<uint8_t>(9);
              }),
              HasSubstr("at byte 53: a bool is 9"));
  for (const MetaType element : {MetaType::kU8, MetaType::kF64, MetaType::kString}) {
    for (const uint64_t count : {uint64_t{9}, uint64_t{1} << 61, kHuge}) {
      EXPECT_THAT(
          with_entry([&](Liar& f) { f.type(MetaType::kArray).type(element).u64(count).u64(0); }),
          HasSubstr("elements do not fit"));
    }
  }
  EXPECT_THAT(with_entry([](Liar& f) {
                f.type(MetaType::kArray).type(MetaType::kArray).u64(1);
                f.type(MetaType::kU8).u64(0);
              }),
              HasSubstr("arrays of arrays"));
  Liar twice;
  twice.header(0, 2);
  for (int i = 0; i < 2; ++i) twice.string("key\n").type(MetaType::kU8).number<uint8_t>(1);
  EXPECT_EQ(error_of(twice.text), "metadata key 'key\\x0a' at byte 41: appears twice");
}

TEST(GgufReader, RefusesLiesAboutAlignment) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21, 0x80000000u, 0xffffffffu}) {
    Liar file;
    file.header(0, 1).string("general.alignment").type(MetaType::kU32).u32(alignment);
    EXPECT_THAT(error_of(file.data(64).text), HasSubstr("'general.alignment' is")) << alignment;
  }
  Liar wrong_type;
  wrong_type.header(0, 1).string("general.alignment").type(MetaType::kString).string("32");
  EXPECT_THAT(error_of(wrong_type.text), HasSubstr("expected an integer"));
  Liar wide;  // the data begins at the next multiple of the alignment
  wide.header(1, 1).string("general.alignment").type(MetaType::kU32).u32(256);
  wide.tensor("t", {8}, 0, 0);
  EXPECT_EQ(error_of(wide.data(32, 256).text), "accepted");
}

TEST(GgufReader, RefusesLiesAboutTensors) {
  const auto with_tensor = [](const std::vector<uint64_t>& dimensions, uint32_t type,
                              uint64_t offset, size_t bytes = 64) {
    return error_of(Liar().header(1, 0).tensor("t", dimensions, type, offset).data(bytes).text);
  };
  EXPECT_EQ(with_tensor({16}, 0, 0), "accepted");
  EXPECT_THAT(with_tensor({17}, 0, 0), HasSubstr("tensor 't' at byte 64: its 68 bytes"));
  EXPECT_THAT(with_tensor({16}, 0, 32), HasSubstr("do not lie within"));
  EXPECT_THAT(with_tensor({16}, 0, kHuge - 31), HasSubstr("do not lie within"));
  EXPECT_THAT(with_tensor({16}, 99, kHuge - 31), HasSubstr("do not lie within"));
  EXPECT_THAT(with_tensor({16}, 0, 8), HasSubstr("not a multiple of 32"));
  EXPECT_THAT(with_tensor({0}, 0, 0), HasSubstr("a dimension is 0"));
  EXPECT_THAT(with_tensor({kHuge}, 0, 0), HasSubstr("a dimension is"));
  EXPECT_THAT(with_tensor({1, 1, 1, 1, 1}, 0, 0), HasSubstr("5 dimensions"));
  EXPECT_THAT(with_tensor({uint64_t{1} << 31, uint64_t{1} << 31, 2}, 0, 0), HasSubstr("overflows"));
  EXPECT_THAT(with_tensor({uint64_t{1} << 62}, 0, 0), HasSubstr("overflows"));
  EXPECT_THAT(with_tensor({33}, 8, 0), HasSubstr("not whole blocks of Q8_0"));
  EXPECT_THAT(with_tensor({}, 8, 0), HasSubstr("not whole blocks"));
  EXPECT_EQ(with_tensor({}, 0, 0), "accepted");

  Liar named;
  named.header(1, 0).tensor(std::string(65, 'x'), {1}, 0, 0).data(64);
  EXPECT_THAT(error_of(named.text), HasSubstr("a string of 65 bytes, at most 64"));
  Liar twice;
  twice.header(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 77, 32).data(64);
  EXPECT_THAT(error_of(twice.text), HasSubstr("tensor 't' at byte 57: appears twice"));
  Liar overlap;
  overlap.header(2, 0).tensor("a", {8}, 0, 32).tensor("b", {9}, 0, 0).data(64);
  EXPECT_EQ(error_of(overlap.text), "tensor 'a' at byte 128: overlaps tensor 'b' at byte 96");
}

TEST(GgufReader, SaysWhatElseAFileIs) {
  const auto kind_of = [](std::string start) {
    start.resize(600, 'x');
    return error_of(start);
  };
  using std::string_literals::operator""s;
  EXPECT_THAT(kind_of("version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("Git LFS pointer"));
  EXPECT_THAT(kind_of("\n <!DOCTYPE html>"), HasSubstr("a web page"));
  EXPECT_THAT(kind_of("<HTML>"), HasSubstr("a web page"));
  EXPECT_THAT(kind_of("PK\x03\x04"), HasSubstr("PyTorch"));
  EXPECT_THAT(kind_of("\x40\0\0\0\0\0\0\0{\"__meta"s), HasSubstr("a safetensors file"));
  EXPECT_THAT(kind_of("tjgg"), HasSubstr("the old format GGJT"));
  EXPECT_THAT(kind_of("lmgg"), HasSubstr("the old format GGML"));
  EXPECT_THAT(kind_of("\x1f\x8b\x08"), HasSubstr("gzip"));
  EXPECT_THAT(kind_of("{\"error\": 404}"), HasSubstr("JSON text"));
  EXPECT_THAT(error_of(std::string(5000, '\0')), HasSubstr("download did not finish"));
  EXPECT_EQ(error_of("Entry not found"), "not a GGUF file: begins with \"Entry not found\"");
}

TEST(GgufReader, BoundsWhatTakesMemory) {
  Liar keys;
  keys.header(0, gguf::kEntriesMax + 1).data(13 * (gguf::kEntriesMax + 1));
  EXPECT_THAT(error_of(keys.text), HasSubstr("65537 metadata keys, at most 65536 expected"));
  Liar tensors;
  tensors.header(gguf::kTensorsMax + 1, 0).data(24 * (gguf::kTensorsMax + 1));
  EXPECT_THAT(error_of(tensors.text), HasSubstr("131073 tensors, at most 131072 expected"));
}

// What the file holds decides what is kept of it: an array of numbers lies there as in the file.
TEST(GgufReader, AnArrayOfNumbersIsNotCopied) {
  Liar file;
  file.header(0, 1).string("key").type(MetaType::kArray).type(MetaType::kU8).u64(1000);
  file.data(1000, 1);
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::parse(bytes_of(file.text));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto& array = std::get<MetaArray>(checkpoint->metadata().find("key")->value);
  EXPECT_EQ(array.size(), 1000);
  const auto bytes = std::get<std::span<const std::byte>>(array.values);
  EXPECT_EQ(bytes.data(), bytes_of(file.text).data() + file.text.size() - 1000);
}

class GgufFile : public testing::Test {
 protected:
  ~GgufFile() override { std::filesystem::remove(path_); }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  const std::string path_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-reader-{}", ::getpid());
};

TEST_F(GgufFile, IsReadAsFromMemory) {
  Liar file;
  file.header(1, 3).string("long").type(MetaType::kString).string(std::string(300'000, 'a'));
  file.string("texts").type(MetaType::kArray).type(MetaType::kString).u64(50'000);
  for (int i = 0; i < 50'000; ++i) file.string(std::to_string(i));
  file.string("numbers").type(MetaType::kArray).type(MetaType::kU16).u64(400'000);
  for (int i = 0; i < 400'000; ++i) file.number(static_cast<uint16_t>(i));
  write(file.tensor("t", {8}, 0, 0).data(32).text);
  absl::StatusOr<Checkpoint> opened = Checkpoint::open(path_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const Checkpoint checkpoint = *std::move(opened);
  EXPECT_EQ(checkpoint.metadata().string("long").value(), std::string(300'000, 'a'));
  const auto texts = checkpoint.metadata().strings("texts");
  const auto numbers = checkpoint.metadata().integers("numbers");
  ASSERT_TRUE(texts.ok() && numbers.ok());
  for (size_t i = 0; i < 50'000; ++i) ASSERT_EQ((*texts)[i], std::to_string(i));
  for (size_t i = 0; i < 400'000; ++i) ASSERT_EQ((*numbers)[i], static_cast<int64_t>(i % 65536));
  EXPECT_EQ(checkpoint.read(checkpoint.tensors()[0])->size(), 32U);
}

TEST_F(GgufFile, ThatShrinksWhileItIsReadIsAnError) {
  const std::string text = honest_file();
  for (size_t size = 0; size < text.size(); ++size) {
    write(text);
    absl::StatusOr<FileBytes> file = FileBytes::open(path_);
    ASSERT_TRUE(file.ok()) << file.status();
    std::filesystem::resize_file(path_, size);
    EXPECT_EQ(Checkpoint::parse(*std::move(file)).status().code(), absl::StatusCode::kDataLoss);

    write(text);
    const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(path_);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    std::filesystem::resize_file(path_, size);
    const NamedTensor& last = checkpoint->tensors()[1];
    const absl::Status status = checkpoint->read(last).status();
    const bool is_cut = size < last.file_offset + static_cast<uint64_t>(last.layout.bytes());
    EXPECT_EQ(status.code(), is_cut ? absl::StatusCode::kDataLoss : absl::StatusCode::kOk) << size;
    if (is_cut) {
      EXPECT_THAT(message_of(status), HasSubstr("tensor 'q8_0': the file became shorter"));
    }
    EXPECT_EQ(checkpoint->metadata().string("general.architecture").value(), "llama");
  }
}

TEST(GgufReader, OpensEveryPublishedFile) {
  const std::filesystem::path data = "../shared/data";
  if (!std::filesystem::exists(data)) GTEST_SKIP() << "no " << data;
  int files = 0;
  for (const char* folder : {"models", "models/tiny", "vocab"}) {
    for (const auto& entry : std::filesystem::directory_iterator(data / folder)) {
      if (entry.path().extension() != ".gguf") continue;
      const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::open(entry.path().string());
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      EXPECT_TRUE(checkpoint->metadata().has("general.architecture")) << entry.path();
      EXPECT_TRUE(checkpoint->unknown_tensors().empty()) << entry.path();
      for (const NamedTensor& tensor : checkpoint->tensors()) {
        EXPECT_TRUE(checkpoint->read(tensor).ok()) << tensor.name;
      }
      ++files;
    }
  }
  EXPECT_GE(files, 3);
}

}  // namespace
}  // namespace millrace
