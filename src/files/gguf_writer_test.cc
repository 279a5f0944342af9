#include "files/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/checkpoint.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GgufWriter::Sink append_to(std::string& file) {
  return [&file](std::span<const std::byte> bytes) {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  };
}

absl::StatusOr<Checkpoint> parse(const std::string& file) {
  return Checkpoint::parse(std::as_bytes(std::span(file)));
}

template <typename T>
constexpr int64_t lowest() {
  return static_cast<int64_t>(std::numeric_limits<T>::min());
}
template <typename T>
constexpr int64_t highest() {
  return static_cast<int64_t>(std::numeric_limits<T>::max());
}

struct IntegerRange {
  MetaType type;
  int64_t low, high;
};
const std::vector<IntegerRange> kIntegers = {
    {MetaType::kU8, lowest<uint8_t>(), highest<uint8_t>()},
    {MetaType::kI8, lowest<int8_t>(), highest<int8_t>()},
    {MetaType::kU16, lowest<uint16_t>(), highest<uint16_t>()},
    {MetaType::kI16, lowest<int16_t>(), highest<int16_t>()},
    {MetaType::kU32, lowest<uint32_t>(), highest<uint32_t>()},
    {MetaType::kI32, lowest<int32_t>(), highest<int32_t>()},
    {MetaType::kU64, lowest<uint64_t>(), -1},  // wraps
    {MetaType::kI64, lowest<int64_t>(), highest<int64_t>()},
    {MetaType::kBool, 0, 1},
};

Metadata every_type() {
  Metadata metadata;
  for (const auto& [type, low, high] : kIntegers) {
    const std::string name(name_of(type));
    metadata.set_integer(name + ".low", type, low);
    metadata.set_integer(name + ".high", type, high);
    metadata.set_integers(name + ".array", type, {low, high, 1});
  }
  metadata.set_number("f32", 0.1F);
  metadata.set_numbers("f32.array", {0.5, -0.0, std::numeric_limits<double>::infinity()});
  EXPECT_TRUE(metadata.add("f64", {MetaType::kF64, 0.1}).ok());
  static constexpr double kTenth[] = {0.1};
  const MetaArray tenth{MetaType::kF64, std::as_bytes(std::span(kTenth))};
  EXPECT_TRUE(metadata.add("f64.array", {MetaType::kArray, tenth}).ok());
  metadata.set_string("text", std::string("two\nlines and a \0 byte", 22));
  metadata.set_string("text.empty", "");
  metadata.set_strings("texts", std::vector<std::string>{"", "ä", "b"});
  metadata.set_strings("texts.none", std::vector<std::string>{});
  return metadata;
}

void expect_same(const Metadata& a, const Metadata& b) {
  ASSERT_EQ(a.entries().size(), b.entries().size());
  for (size_t i = 0; i < a.entries().size(); ++i) {
    const auto& [key, value] = a.entries()[i];
    EXPECT_EQ(key, b.entries()[i].first);
    const MetaValue& other = b.entries()[i].second;
    EXPECT_EQ(value.type, other.type) << key;
    if (const auto* array = std::get_if<MetaArray>(&value.value)) {
      EXPECT_EQ(array->element, std::get<MetaArray>(other.value).element) << key;
      EXPECT_EQ(array->first(array->size()), std::get<MetaArray>(other.value).first(9)) << key;
    } else {
      ASSERT_EQ(value.value.index(), other.value.index()) << key;
      if (std::holds_alternative<int64_t>(value.value)) {
        EXPECT_EQ(std::get<int64_t>(value.value), std::get<int64_t>(other.value)) << key;
      } else if (std::holds_alternative<double>(value.value)) {
        EXPECT_EQ(std::get<double>(value.value), std::get<double>(other.value)) << key;
      } else {
        EXPECT_EQ(std::get<std::string_view>(value.value), std::get<std::string_view>(other.value));
      }
    }
  }
}

TEST(GgufWriter, EveryValueTypeComesBack) {
  const Metadata metadata = every_type();
  for (const uint32_t version : {2u, 3u}) {
    std::string file;
    GgufWriter writer(append_to(file), version);
    ASSERT_TRUE(writer.begin(metadata, {}).ok());
    ASSERT_TRUE(writer.end().ok());
    const absl::StatusOr<Checkpoint> back = parse(file);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->format(), version == 2 ? "GGUF v2" : "GGUF v3");
    expect_same(metadata, back->metadata());
  }
}

TEST(GgufWriter, TensorsOfEveryTypeComeBackAligned) {
  for (const int64_t alignment : {1, 8, 32, 4096}) {
    Metadata metadata;
    metadata.set_integer("general.alignment", MetaType::kU32, alignment);
    std::vector<TensorPlan> plan = {{"scalar", DType::kF32, {}}};
    for (const DTypeInfo& info : kDTypes) {
      plan.push_back({std::string(info.name), info.type, {3, 2, info.block_elements * 2}});
    }
    std::vector<std::vector<std::byte>> data;
    std::string file;
    GgufWriter writer(append_to(file));
    ASSERT_TRUE(writer.begin(metadata, plan).ok());
    for (const TensorPlan& tensor : plan) {
      std::vector<std::byte> bytes(static_cast<size_t>(tensor.bytes()));
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7 + data.size());
      const std::span<const std::byte> whole(bytes);
      ASSERT_TRUE(writer.write(whole.first(3)).ok());
      ASSERT_TRUE(writer.write(whole.subspan(3)).ok());
      data.push_back(std::move(bytes));
    }
    ASSERT_TRUE(writer.end().ok());
    const absl::StatusOr<Checkpoint> back = parse(file);
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_EQ(back->tensors().size(), plan.size());
    for (size_t i = 0; i < plan.size(); ++i) {
      const NamedTensor& tensor = back->tensors()[i];
      EXPECT_EQ(tensor.name, plan[i].name);
      EXPECT_EQ(tensor.layout.dtype, plan[i].dtype);
      EXPECT_EQ(tensor.file_offset % static_cast<uint64_t>(alignment), 0u);
      EXPECT_EQ(back->read(tensor).value(), data[i]) << tensor.name;
    }
    EXPECT_THAT(back->find("Q8_0")->layout.shape, ElementsAre(3, 2, 64, 1));
    EXPECT_EQ(back->find("scalar")->layout.rank, 0);
  }
}

TEST(GgufWriter, RefusesWhatTheReaderWould) {
  const auto error_of = [](std::vector<TensorPlan> plan, const Metadata& metadata = {}) {
    std::string file;
    return std::string(message_of(GgufWriter(append_to(file)).begin(metadata, std::move(plan))));
  };
  EXPECT_THAT(error_of({{"t", DType::kQ4_0, {2, 16}}}), HasSubstr("whole blocks of Q4_0"));
  EXPECT_THAT(error_of({{"t", DType::kF32, {2, 0}}}), HasSubstr("dimension is 0"));
  EXPECT_THAT(error_of({{"t", DType::kF32, {1, 1, 1, 1, 1}}}), HasSubstr("5 dimensions"));
  EXPECT_THAT(error_of({{"t", DType::kF32, {int64_t{1} << 40, int64_t{1} << 40}}}),
              HasSubstr("overflows"));
  EXPECT_THAT(error_of({{"t", DType::kF32, {1}}, {"t", DType::kF16, {1}}}), HasSubstr("twice"));
  EXPECT_THAT(error_of({{std::string(65, 'n'), DType::kF32, {1}}}), HasSubstr("65 bytes"));
  Metadata metadata;
  metadata.set_integer("general.alignment", MetaType::kU32, 24);
  EXPECT_THAT(error_of({}, metadata), HasSubstr("power of two"));
}

TEST(GgufWriter, DataMustFitThePlan) {
  std::string file;
  GgufWriter writer(append_to(file));
  ASSERT_TRUE(writer.begin({}, {{"t", DType::kF32, {2}}}).ok());
  const std::vector<std::byte> bytes(9);
  EXPECT_THAT(message_of(writer.end()), HasSubstr("'t': its data is missing"));
  EXPECT_THAT(message_of(writer.write(bytes)), HasSubstr("9 bytes of data where 8"));
  EXPECT_TRUE(writer.write(std::span(bytes).first(8)).ok());
  EXPECT_TRUE(writer.end().ok());
  EXPECT_THAT(message_of(writer.write(std::span(bytes).first(1))), HasSubstr("after the data"));
}

TEST(GgufWriter, FilesAreWholeOrAbsent) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("millrace-gguf-{}", ::getpid());
  std::filesystem::create_directory(folder);
  const std::string path = folder / "model.gguf";
  std::vector<float> values(64);
  std::iota(values.begin(), values.end(), 0.0F);
  const TensorView view{{DType::kF32, 2, {2, 32, 1, 1}},
                        reinterpret_cast<const std::byte*>(values.data())};
  const std::vector<TensorSource> tensors = {{"weight", view}};
  ASSERT_EQ(write_gguf(path, every_type(), tensors), absl::OkStatus());
  {
    const absl::StatusOr<Checkpoint> back = Checkpoint::open(path);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(std::ranges::equal(back->read(*back->find("weight")).value(), view.span()));
  }
  std::vector<TensorSource> bad = tensors;
  bad.push_back(tensors[0]);
  EXPECT_FALSE(write_gguf(path, {}, bad).ok());
  EXPECT_TRUE(Checkpoint::open(path).ok());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  EXPECT_THAT(message_of(write_gguf(folder / "no" / "where", {}, tensors)),
              HasSubstr("cannot write"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace
