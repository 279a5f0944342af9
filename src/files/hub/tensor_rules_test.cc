#include "files/hub/tensor_rules.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensor/float_bits.h"

namespace millrace {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// One file of stored tensors, whose elements are numbered from 0 in each.
class Stored {
 public:
  explicit Stored(DType dtype = DType::kF32) : dtype_(dtype) {}

  void add(const std::string& name, const std::vector<int64_t>& shape) {
    StoredTensor tensor;
    tensor.name = name;
    tensor.type = info_of(dtype_).name;
    tensor.dtype = dtype_;
    tensor.shape = shape;
    tensor.offset = bytes_.size();
    const int64_t elements =
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    for (int64_t i = 0; i < elements; ++i) {
      const auto value = static_cast<float>(i);
      const uint16_t bits = bf16_of_f32(value);
      const auto* from = dtype_ == DType::kF32 ? reinterpret_cast<const std::byte*>(&value)
                                               : reinterpret_cast<const std::byte*>(&bits);
      bytes_.insert(bytes_.end(), from, from + info_of(dtype_).block_bytes);
    }
    tensor.bytes = bytes_.size() - tensor.offset;
    tensors_.push_back(std::move(tensor));
  }
  std::vector<StoredTensor>& tensors() { return tensors_; }

  absl::StatusOr<Checkpoint> apply(std::vector<TensorRule> rules, const HubShape& shape) const {
    const std::span<const TensorRule> lists[] = {rules};
    CheckpointContents contents;
    ASSIGN_OR_RETURN(contents.tensors, apply_rules(tensors_, lists, shape));
    contents.files.push_back({FileBytes(bytes_), {}});
    for (size_t i = 0; i < contents.tensors.size(); ++i) {
      contents.index.emplace(contents.tensors[i].name, i);
    }
    return Checkpoint(std::move(contents));
  }

 private:
  DType dtype_;
  std::vector<std::byte> bytes_;
  std::vector<StoredTensor> tensors_;
};

std::vector<float> floats_of(DType dtype, std::span<const std::byte> bytes) {
  std::vector<float> values;
  const auto size = static_cast<size_t>(info_of(dtype).block_bytes);
  for (size_t at = 0; at < bytes.size(); at += size) {
    float value = 0;
    uint16_t bits = 0;
    std::memcpy(&value, bytes.data() + at, std::min(size, sizeof value));
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    values.push_back(dtype == DType::kF32 ? value : f32_of_bf16(bits));
  }
  return values;
}

const HubShape kShape = {.layers = 1,
                         .width = 3,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 4,
                         .recurrent_heads = 4,
                         .groups = 2,
                         .state_dim = 3,
                         .inner = 8,
                         .factors = {2, 1, 10, 100, 3, 5},
                         .plain_dim = 3,
                         .vocab = 5};

// Each element's number in the stored tensor. Pieces of any size, from any place, are the same.
std::vector<float> made(const std::vector<int64_t>& stored_shape, Transform transform,
                        std::vector<int64_t>* shape = nullptr, int32_t factor = -1) {
  std::vector<float> result;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Stored stored(dtype);
    stored.add("other", {5});
    stored.add("x.weight", stored_shape);
    const auto checkpoint =
        stored.apply({{"x", "y", transform, factor}, {"other", "z"}}, kShape).value();
    const NamedTensor& tensor = *checkpoint.find("y.weight");
    const auto bytes = checkpoint.read(tensor).value();
    const auto size = static_cast<int64_t>(info_of(tensor.layout.dtype).block_bytes);
    const int64_t elements = tensor.layout.elements();
    for (const int64_t piece : {int64_t{1}, int64_t{7}, elements - 1}) {
      for (int64_t at = 0; at < elements; at += piece) {
        std::vector<std::byte> part(static_cast<size_t>(std::min(piece, elements - at) * size));
        EXPECT_EQ(checkpoint.read(tensor, at * size, part), absl::OkStatus());
        EXPECT_EQ(std::memcmp(part.data(), bytes.data() + at * size, part.size()), 0) << at;
      }
    }
    const auto values = floats_of(tensor.layout.dtype, bytes);
    if (!result.empty()) {
      EXPECT_EQ(values, result);
    }
    result = values;
    if (shape != nullptr) {
      *shape = {tensor.layout.shape.begin(), tensor.layout.shape.begin() + tensor.layout.rank};
    }
  }
  return result;
}

// What `source(experts, rows, columns)` says of each place of a tensor of this shape.
template <typename Source>
std::vector<float> numbered(std::vector<int64_t> shape, Source source) {
  std::vector<float> values;
  while (shape.size() < 3) shape.insert(shape.begin(), 1);
  for (int64_t e = 0; e < shape[0]; ++e) {
    for (int64_t r = 0; r < shape[1]; ++r) {
      for (int64_t c = 0; c < shape[2]; ++c) {
        values.push_back(static_cast<float>(source(e, r, c)));
      }
    }
  }
  return values;
}

TEST(TensorRules, MoveRowsAndElements) {
  std::vector<int64_t> shape;
  // 4 heads of 4 rows of 3: rows 0 2 and 1 3 of a head rotate together.
  EXPECT_THAT(made({16, 3}, Transform::kQueryRows),
              ElementsAreArray(numbered({16, 3}, [](int64_t, int64_t r, int64_t c) {
                const int64_t head = r / 4, pair = r % 4 / 2, half = r % 2;
                return (head * 4 + half * 2 + pair) * 3 + c;
              })));
  EXPECT_THAT(made({8, 3}, Transform::kKeyRows),
              ElementsAreArray(numbered({8, 3}, [](int64_t, int64_t r, int64_t c) {
                return (r / 4 * 4 + r % 2 * 2 + r % 4 / 2) * 3 + c;
              })));
  EXPECT_THAT(made({48, 2}, Transform::kQkvByHead),
              ElementsAreArray(numbered({48, 2}, [](int64_t, int64_t r, int64_t c) {
                const int64_t which = r / 16, head = r % 16 / 4;
                return (head * 12 + which * 4 + r % 4) * 2 + c;
              })));
  // Two groups of two queries, a key and a value.
  EXPECT_THAT(made({32, 2}, Transform::kQkvByGroup),
              ElementsAreArray(numbered({32, 2}, [](int64_t, int64_t r, int64_t c) {
                const int64_t group = r < 16 ? r / 8 : r % 8 / 4;
                const int64_t inside = r < 16 ? r % 8 : (r < 24 ? 8 : 12) + r % 4;
                return (group * 16 + inside) * 2 + c;
              })));
  EXPECT_THAT(
      made({3, 5}, Transform::kSwapped, &shape),
      ElementsAreArray(numbered({5, 3}, [](int64_t, int64_t r, int64_t c) { return c * 5 + r; })));
  EXPECT_THAT(shape, ::testing::ElementsAre(5, 3));
  EXPECT_THAT(made({2, 3, 4}, Transform::kSwapped, &shape),
              ElementsAreArray(numbered(
                  {2, 4, 3}, [](int64_t e, int64_t r, int64_t c) { return e * 12 + c * 4 + r; })));
  EXPECT_THAT(shape, ::testing::ElementsAre(2, 4, 3));
  EXPECT_THAT(made({2, 4, 3}, Transform::kSecondHalf, &shape),
              ElementsAreArray(numbered({2, 2, 3}, [](int64_t e, int64_t r, int64_t c) {
                return e * 12 + (r + 2) * 3 + c;
              })));
  EXPECT_THAT(shape, ::testing::ElementsAre(2, 2, 3));
  EXPECT_THAT(made({2, 4, 3}, Transform::kFirstHalf),
              ElementsAreArray(numbered(
                  {2, 2, 3}, [](int64_t e, int64_t r, int64_t c) { return e * 12 + r * 3 + c; })));
  EXPECT_THAT(made({2, 3, 4}, Transform::kSwappedSecondHalf, &shape),
              ElementsAreArray(numbered({2, 2, 3}, [](int64_t e, int64_t r, int64_t c) {
                return e * 12 + c * 4 + 2 + r;
              })));
  EXPECT_THAT(shape, ::testing::ElementsAre(2, 2, 3));
  EXPECT_THAT(made({2, 3, 4}, Transform::kSwappedOdd),
              ElementsAreArray(numbered({2, 2, 3}, [](int64_t e, int64_t r, int64_t c) {
                return e * 12 + c * 4 + 2 * r + 1;
              })));
  EXPECT_THAT(made({2, 4}, Transform::kEven, &shape), ::testing::ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(shape, ::testing::ElementsAre(2, 2));
  EXPECT_THAT(made({2, 4}, Transform::kOdd), ::testing::ElementsAre(1, 3, 5, 7));
  EXPECT_THAT(made({4}, Transform::kPlusOne), ::testing::ElementsAre(1, 2, 3, 4));
  // 4 heads of a row that stays and 4 that rotate.
  EXPECT_THAT(made({20, 2}, Transform::kTurnedQueryRows),
              ElementsAreArray(numbered({20, 2}, [](int64_t, int64_t r, int64_t c) {
                const int64_t i = r % 5 - 1;
                return (i < 0 ? r : r - i + i % 2 * 2 + i / 2) * 2 + c;
              })));
  EXPECT_THAT(made({7}, Transform::kTurnedKeyRows), ::testing::ElementsAre(0, 1, 2, 3, 5, 4, 6));
  // For each of four heads rows of a key of 3 and a value of 2.
  EXPECT_THAT(made({20, 2}, Transform::kLatentKeys, &shape),
              ElementsAreArray(numbered(
                  {4, 2, 3}, [](int64_t e, int64_t r, int64_t c) { return (e * 5 + c) * 2 + r; })));
  EXPECT_THAT(shape, ::testing::ElementsAre(4, 2, 3));
  EXPECT_THAT(made({20, 2}, Transform::kLatentValues, &shape),
              ElementsAreArray(numbered({4, 2, 2}, [](int64_t e, int64_t r, int64_t c) {
                return (e * 5 + 3 + r) * 2 + c;
              })));
  EXPECT_THAT(shape, ::testing::ElementsAre(4, 2, 2));
  EXPECT_THAT(made({4, 2}, Transform::kWithoutTwoRows), ::testing::ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(made({3, 2}, Transform::kRowOfEachToken, &shape),
              ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 0, 1, 0, 1));
  EXPECT_THAT(shape, ::testing::ElementsAre(5, 2));
  EXPECT_THAT(made({6, 1}, Transform::kRowOfEachToken), ::testing::ElementsAre(0, 1, 2, 3, 4));
}

// Two key heads of 3, each of which two value heads of 2 read.
TEST(TensorRules, MoveHeadsOfRecurrentUnits) {
  std::vector<int64_t> shape;
  // Of each key head: 3 rows of q, 3 of k, 4 of v, 4 of z.
  EXPECT_THAT(made({28, 2}, Transform::kJoinedQkv, &shape),
              ElementsAreArray(numbered({20, 2}, [](int64_t, int64_t r, int64_t c) {
                const int64_t head = r < 12 ? r % 6 / 3 : (r - 12) / 4;
                const int64_t inside = r < 12 ? r / 6 * 3 + r % 3 : 6 + (r - 12) % 4;
                return (head * 14 + inside) * 2 + c;
              })));
  EXPECT_THAT(shape, ::testing::ElementsAre(20, 2));
  EXPECT_THAT(made({28, 2}, Transform::kJoinedGates, &shape),
              ElementsAreArray(numbered({8, 2}, [](int64_t, int64_t r, int64_t c) {
                return (r / 4 * 14 + 10 + r % 4) * 2 + c;
              })));
  EXPECT_THAT(shape, ::testing::ElementsAre(8, 2));
  // Value heads 0 1 2 3 become 0 2 1 3.
  const auto head_of = [](int64_t place) { return place % 2 * 2 + place / 2; };
  EXPECT_THAT(made({8, 2}, Transform::kInTurn),
              ElementsAreArray(numbered({8, 2}, [&](int64_t, int64_t r, int64_t c) {
                return (head_of(r / 2) * 2 + r % 2) * 2 + c;
              })));
  EXPECT_THAT(made({4}, Transform::kInTurn), ::testing::ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(made({2, 8}, Transform::kInTurnColumns),
              ElementsAreArray(numbered({2, 8}, [&](int64_t, int64_t r, int64_t c) {
                return r * 8 + head_of(c / 2) * 2 + c % 2;
              })));
  for (const std::vector<int64_t>& stored : {std::vector<int64_t>{20, 2}, {20, 1, 2}}) {
    EXPECT_THAT(made(stored, Transform::kQkvInTurn, &shape),
                ElementsAreArray(numbered({20, 2}, [&](int64_t, int64_t r, int64_t c) {
                  const int64_t row = r < 12 ? r : 12 + head_of((r - 12) / 2) * 2 + r % 2;
                  return row * 2 + c;
                })));
    EXPECT_THAT(shape, ::testing::ElementsAre(20, 2));
  }
}

TEST(TensorRules, ShapeAndScaleWeightsOfStateSpaces) {
  std::vector<int64_t> shape;
  EXPECT_THAT(made({3, 1, 2}, Transform::kSqueezed, &shape),
              ::testing::ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(shape, ::testing::ElementsAre(3, 2));
  made({3}, Transform::kColumn, &shape);
  EXPECT_THAT(shape, ::testing::ElementsAre(3, 1));
  made({4}, Transform::kGroups, &shape);
  EXPECT_THAT(shape, ::testing::ElementsAre(2, 2));
  for (const Transform transform : {Transform::kNegatedExp, Transform::kNegatedExpColumn}) {
    EXPECT_THAT(made({2}, transform, &shape), ::testing::ElementsAre(-1, -std::exp(1.F)));
  }
  EXPECT_THAT(shape, ::testing::ElementsAre(2, 1));
  EXPECT_THAT(made({4}, Transform::kInTurnNegatedExp),
              ::testing::ElementsAre(-1, -std::exp(2.F), -std::exp(1.F), -std::exp(3.F)));
  EXPECT_THAT(made({2, 2}, Transform::kCopy, &shape, 0), ::testing::ElementsAre(0, 2, 4, 6));
  // 8 rows of gates, 8 of inputs, 6 of B, 6 of C and 4 of steps.
  EXPECT_THAT(made({32, 1}, Transform::kMambaIn, &shape, 1),
              ElementsAreArray(numbered({32, 1}, [](int64_t, int64_t r, int64_t) {
                return r * (r < 8 ? 1 : r < 16 ? 10 : r < 22 ? 100 : r < 28 ? 3 : 5);
              })));
}

TEST(TensorRules, LeaveOutLayersThatPredictFurtherAhead) {
  Stored stored;
  stored.add("layers.0.x.weight", {2});
  stored.add("layers.1.x.weight", {2});
  HubShape shape = kShape;
  shape.predictors = 1;
  const auto checkpoint = stored.apply({{"layers.#.x", "blk.#.y"}}, shape).value();
  ASSERT_EQ(checkpoint.tensors().size(), 1U);
  EXPECT_EQ(checkpoint.tensors()[0].name, "blk.0.y.weight");
}

TEST(TensorRules, StackByNumber) {
  Stored stored;
  for (const int expert : {1, 0, 2}) stored.add(fmt::format("l.0.e.{}.w.weight", expert), {2, 2});
  const auto checkpoint = stored.apply({{"l.#.e.@.w", "blk.#.w_exps"}}, kShape).value();
  const NamedTensor* tensor = checkpoint.find("blk.0.w_exps.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_THAT(tensor->layout.shape, ::testing::ElementsAre(3, 2, 2, 1));
  EXPECT_THAT(floats_of(DType::kF32, checkpoint.read(*tensor).value()),
              ::testing::ElementsAre(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3));
}

// Blocks and scales as gpt-oss has them: the elements of a block are neighbours in bytes.
TEST(TensorRules, JoinBlocksAndScales) {
  constexpr int64_t kExperts = 2, kRows = 4, kBlocks = 2;
  std::vector<std::byte> bytes(64);
  const size_t blocks_at = bytes.size();
  for (int64_t i = 0; i < kExperts * kRows * kBlocks * 16; ++i) {
    bytes.push_back(static_cast<std::byte>(i * 37 + i / 16));
  }
  const size_t scales_at = bytes.size();
  for (int64_t i = 0; i < kExperts * kRows * kBlocks; ++i) {
    bytes.push_back(static_cast<std::byte>(100 + i));
  }
  StoredTensor blocks, scales;
  blocks.name = "m.0.w_blocks";
  blocks.type = scales.type = "U8";
  blocks.shape = {kExperts, kRows, kBlocks, 16};
  blocks.offset = blocks_at;
  blocks.bytes = scales_at - blocks_at;
  scales.name = "m.0.w_scales";
  scales.shape = {kExperts, kRows, kBlocks};
  scales.offset = scales_at;
  scales.bytes = bytes.size() - scales_at;
  const TensorRule rules[] = {{"m.#.w_blocks", "blk.#.odd.weight", Transform::kMxfp4OddRows},
                              {"m.#.w_blocks", "blk.#.all.weight", Transform::kMxfp4},
                              {"m.#.w_scales", "", Transform::kNone}};
  const std::span<const TensorRule> lists[] = {rules};
  CheckpointContents contents;
  contents.tensors = apply_rules(std::vector{blocks, scales}, lists, kShape).value();
  contents.files.push_back({FileBytes(bytes), {}});
  const Checkpoint checkpoint(std::move(contents));
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    const bool odd = tensor.name == "blk.0.odd.weight";
    EXPECT_EQ(tensor.layout.dtype, DType::kMXFP4);
    EXPECT_THAT(tensor.layout.shape, ::testing::ElementsAre(2, odd ? 2 : 4, 64, 1));
    const auto made = checkpoint.read(tensor).value();
    for (int64_t block = 0; block < std::ssize(made) / 17; ++block) {
      const int64_t source = odd ? block / 2 * 4 + 2 + block % 2 : block;
      EXPECT_EQ(made[static_cast<size_t>(block * 17)], static_cast<std::byte>(100 + source));
      const auto element = [&](int64_t k) {
        const std::byte pair = bytes[blocks_at + static_cast<size_t>(source * 16 + k / 2)];
        return k % 2 == 0 ? pair & std::byte{15} : pair >> 4;
      };
      for (int64_t i = 0; i < 16; ++i) {
        const std::byte byte = made[static_cast<size_t>(block * 17 + 1 + i)];
        EXPECT_EQ(byte & std::byte{15}, element(i));
        EXPECT_EQ(byte >> 4, element(i + 16));
      }
    }
    std::vector<std::byte> middle(3 * 17);
    ASSERT_EQ(checkpoint.read(tensor, 17, middle), absl::OkStatus());
    EXPECT_EQ(std::memcmp(middle.data(), made.data() + 17, middle.size()), 0);
  }
  EXPECT_THAT(apply_rules(std::vector{blocks}, lists, kShape).status().ToString(),
              HasSubstr("'m.0.w_scales' is missing"));
  scales.shape = {kExperts, kRows, 1};
  EXPECT_THAT(apply_rules(std::vector{blocks, scales}, lists, kShape).status().ToString(),
              HasSubstr("must have four dimensions of U8"));
}

TEST(TensorRules, RefuseWhatDoesNotFit) {
  const auto error_of = [](const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors,
                           const TensorRule& rule) {
    Stored stored;
    for (const auto& [name, shape] : tensors) stored.add(name, shape);
    const auto checkpoint = stored.apply({rule}, kShape);
    return checkpoint.ok() ? "accepted" : std::string(message_of(checkpoint.status()));
  };
  const TensorRule stack = {"l.#.e.@.w", "blk.#.w_exps"};
  EXPECT_EQ(error_of({{"l.0.e.0.w", {2}}}, stack), "accepted");
  EXPECT_THAT(error_of({{"l.0.e.1.w", {2}}}, stack), HasSubstr("number 0 is missing"));
  EXPECT_THAT(error_of({{"l.0.e.0.w", {2}}, {"l.0.e.2.w", {2}}}, stack),
              HasSubstr("number 1 is missing"));
  EXPECT_THAT(error_of({{"l.0.e.0.w", {2}}, {"l.0.e.1.w", {3}}}, stack),
              HasSubstr("differ in shape or type"));
  EXPECT_THAT(error_of({{"l.1.e.0.w", {2}}}, stack), HasSubstr("is of layer 1"));
  EXPECT_THAT(error_of({{"l.00.e.0.w", {2}}}, stack), HasSubstr("does not know it"));
  EXPECT_THAT(error_of({{"l.9999999999.e.0.w", {2}}}, stack), HasSubstr("does not know it"));
  EXPECT_THAT(error_of({{"l.0.e.0.w2", {2}}}, stack), HasSubstr("'l.0.e.0.w2': Millrace does not"));
  EXPECT_THAT(error_of({{"x", {12, 3}}}, {"x", "y", Transform::kQueryRows}),
              HasSubstr("'x' is 12 x 3, but must have 16 rows: 4 heads of 4"));
  EXPECT_THAT(error_of({{"x", {12, 3}}}, {"x", "y", Transform::kQkvByHead}), HasSubstr("48 rows"));
  EXPECT_THAT(error_of({{"x", {12, 3}}}, {"x", "y", Transform::kQkvByGroup}), HasSubstr("32 rows"));
  EXPECT_THAT(error_of({{"x", {3, 3}}}, {"x", "y", Transform::kFirstHalf}), HasSubstr("even"));
  EXPECT_THAT(error_of({{"x", {3, 3}}}, {"x", "y", Transform::kSwappedOdd}), HasSubstr("even"));
  EXPECT_THAT(error_of({{"x", {3}}}, {"x", "y", Transform::kSwapped}), HasSubstr("two dimensions"));
  EXPECT_THAT(error_of({{"x", {2, 3}}}, {"x", "y", Transform::kWithoutTwoRows}),
              HasSubstr("more than two rows"));
  EXPECT_THAT(error_of({{"x", {3}}}, {"x", "y", Transform::kRowOfEachToken}),
              HasSubstr("two dimensions"));
  EXPECT_THAT(error_of({{"x", {3}}}, {"x", "y", Transform::kGroups}), HasSubstr("multiple of 2"));
  EXPECT_THAT(error_of({{"x", {31, 2}}}, {"x", "y", Transform::kMambaIn, 1}), HasSubstr("32 rows"));
  EXPECT_THAT(error_of({{"x", {27, 2}}}, {"x", "y", Transform::kJoinedQkv}), HasSubstr("28 rows"));
  EXPECT_THAT(error_of({{"x", {6, 2}}}, {"x", "y", Transform::kInTurn}), HasSubstr("4 heads"));
  EXPECT_THAT(error_of({{"x", {2, 6}}}, {"x", "y", Transform::kInTurnColumns}),
              HasSubstr("4 heads"));
  EXPECT_THAT(error_of({{"x", {12, 2}}}, {"x", "y", Transform::kQkvInTurn}), HasSubstr("4 heads"));
  EXPECT_THAT(error_of({{"mtp.0.x", {2}}}, {"mtp.*", "", Transform::kNone}), "accepted");
  EXPECT_THAT(error_of({{"x", {1, 2, 3, 4, 5}}}, {"x", "y"}), HasSubstr("one to four dimensions"));
  EXPECT_THAT(error_of({{"x", {2, 0}}}, {"x", "y"}), HasSubstr("are not 0"));
  Stored stored;
  stored.add("x", {2});
  stored.tensors()[0].dtype = std::nullopt;
  stored.tensors()[0].type = "F8_E4M3";
  EXPECT_THAT(stored.apply({{"x", "y"}}, kShape).status().ToString(),
              HasSubstr("tensor 'x' has element type F8_E4M3"));
  EXPECT_TRUE(stored.apply({{"x", "", Transform::kNone}}, kShape).ok());
}

}  // namespace
}  // namespace millrace
