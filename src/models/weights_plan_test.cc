#include "models/weights_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

Edit reshaped(size_t tensor, std::vector<int64_t> shape, DType dtype) {
  return {.tensors = [=](EditedTensors& tensors) {
    tensors[tensor] = new_tensor(tensors[tensor].plan.name, shape, dtype);
  }};
}

// Dimensions of 1 do not matter.
std::vector<int64_t> significant_sizes(std::vector<int64_t> shape) {
  std::erase(shape, 1);
  return shape;
}

// Every tensor in every shape near its own.
TEST(WeightsPlan, OtherShapesAreErrorsThatNameTheTensor) {
  RandomModelShape shape;
  shape.architecture = "qwen3";
  shape.layers = 1;
  const auto file = random_model(shape).value();
  const auto checkpoint = Checkpoint::parse(file).value();
  for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    const NamedTensor& tensor = checkpoint.tensors()[i];
    const int64_t rows = tensor.layout.rows();
    const int64_t width = tensor.layout.width();
    const std::vector<std::vector<int64_t>> shapes = {{},
                                                      {rows * width},
                                                      {width, rows, 1},
                                                      {rows, width, 1},
                                                      {rows, 1, width},
                                                      {2 * width},
                                                      {rows + 1, width},
                                                      {rows, width + 1},
                                                      {1},
                                                      {rows * 2, width / 2},
                                                      {2, rows, width},
                                                      {1, 1, 1, 1},
                                                      {rows, 1, 1, width},
                                                      {width, 1}};
    for (const std::vector<int64_t>& other : shapes) {
      const int64_t* sizes = tensor.layout.shape.data();
      if (significant_sizes(other) == significant_sizes({sizes, sizes + tensor.layout.rank}))
        continue;
      const absl::Status status = load_edited(shape, reshaped(i, other, DType::kF32)).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << tensor.name << status;
      EXPECT_THAT(message_of(status), HasSubstr("'")) << status;
    }
    if (tensor.layout.rank == 1) {
      const auto quantised = load_edited(shape, reshaped(i, {width * 32 / 32}, DType::kF16));
      EXPECT_TRUE(quantised.ok()) << quantised.status();
    }
  }
}

TEST(WeightsPlan, DimensionsOfOneAreNone) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{1, 64}, {1, 1, 64}, {1, 1, 1, 64}, {64, 1}, {1, 64, 1}}) {
    EXPECT_TRUE(load_edited({}, with("output_norm.weight", shape)).ok());
  }
  EXPECT_TRUE(load_edited({}, with("output.weight", {1, 1, 64, 64})).ok());
  // A matrix of one row, as writers that drop such dimensions store it.
  RandomModelShape narrow;
  narrow.hidden = 1;
  const Edit flat = {.tensors = [](EditedTensors& tensors) {
    for (EditedTensor& tensor : tensors) {
      if (tensor.plan.shape.size() == 2 && tensor.plan.shape[0] == 1) {
        tensor.plan.shape.erase(tensor.plan.shape.begin());
      }
    }
  }};
  EXPECT_EQ(load_edited(narrow, flat).status(), absl::OkStatus());
}

TEST(WeightsPlan, VectorsAreNotQuantised) {
  RandomModelShape shape;
  const absl::Status norm =
      load_edited(shape, with("output_norm.weight", {64}, DType::kQ8_0)).status();
  EXPECT_EQ(norm.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(message_of(norm),
            "tensor 'output_norm.weight' is Q8_0, but vectors must be F32, F16 or BF16");
}

// Numbers that do not fit each other, or nothing: every one is one line that names a key or tensor.
TEST(WeightsPlan, LiesOfTheMetadataAreErrors) {
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length",
        "attention.head_count", "attention.head_count_kv", "attention.key_length",
        "attention.value_length", "rope.dimension_count", "vocab_size"}) {
    const std::string whole = fmt::format("llama.{}", key);
    for (const int64_t value : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{5}, int64_t{17},
                                int64_t{255}, int64_t{4096}, int64_t{1} << 31}) {
      const auto model = load_edited({}, set_integer(whole, value));
      if (model.ok()) continue;
      EXPECT_THAT(message_of(model.status()), HasSubstr("'")) << key << value;
      EXPECT_EQ(message_of(model.status()).find('\n'), std::string_view::npos);
    }
    EXPECT_FALSE(load_edited({}, set_string(whole, "many")).ok()) << key;
    EXPECT_FALSE(load_edited({}, set_number(whole, 0.5)).ok()) << key;
    EXPECT_FALSE(load_edited({}, set_array(whole, {1, 2})).ok()) << key;
    EXPECT_FALSE(load_edited({}, set_integer(whole, 0)).ok()) << key;
  }
}

// Only what the model uses takes memory.
TEST(WeightsPlan, CountsWhatIsPacked) {
  const auto file = random_model({}).value();
  const auto checkpoint = Checkpoint::parse(file).value();
  const auto spec = read_spec(checkpoint);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto plan = plan_weights(checkpoint, *spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  LanePool lanes(1);
  const auto model = load_model(checkpoint, {}, lanes);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(plan->packed_bytes(), (*model)->weight_bytes());
  int64_t bytes = 0;
  for (const NamedTensor& tensor : checkpoint.tensors()) bytes += tensor.layout.bytes();
  EXPECT_EQ(plan->file_bytes(), bytes);
}

}  // namespace
}  // namespace millrace
