#include "models/load.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "models/random.h"
#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

absl::StatusOr<std::unique_ptr<Model>> load(const RandomModelShape& shape, const Edit& edit = {}) {
  return load_edited(shape, edit);
}

TEST(LoadModel, ReadsTheShapeOfEachArchitecture) {
  for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
    RandomModelShape shape;
    shape.architecture = architecture;
    const auto model = load(shape);
    ASSERT_TRUE(model.ok()) << model.status();
    const ModelSpec& spec = (*model)->spec();
    EXPECT_EQ(spec.architecture, architecture);
    EXPECT_EQ(spec.layers.size(), 2U);
    EXPECT_EQ(spec.vocab_size, 64);
    EXPECT_EQ(spec.context_max, 256);
    const auto& attention = std::get<AttentionSpec>(spec.layers[0].stages[0][0].body);
    EXPECT_EQ(attention.rope.value().pairs,
              architecture == "llama" ? ops::Rope::Pairs::kNeighbours : ops::Rope::Pairs::kHalves);
    EXPECT_EQ(attention.biases, architecture == "qwen2");
    EXPECT_EQ(static_cast<bool>(attention.norms.query), architecture == "qwen3");
    EXPECT_EQ(attention.kv_heads, 2);
    EXPECT_FLOAT_EQ(attention.scale, 0.25F);
    EXPECT_EQ((*model)->network().layers.size(), 2U);
  }
}

const AttentionSpec& attention_of(const Model& model, size_t layer) {
  return std::get<AttentionSpec>(model.spec().layers[layer].stages[0][0].body);
}

// What kind of layer has a rope of its own, or none, does not depend on the window's length.
TEST(LoadModel, AWindowAsLongAsTheContextStillSaysWhatItsLayersRotate) {
  RandomModelShape shape;
  for (const int64_t window : {16, 256, 4096}) {
    shape.window = window;
    shape.architecture = "gemma3";
    const auto two_ropes = load(shape, set_number("gemma3.rope.freq_base", 1000000));
    ASSERT_TRUE(two_ropes.ok()) << two_ropes.status();
    EXPECT_EQ(attention_of(**two_ropes, 0).window, window < 256 ? window : 0);
    EXPECT_EQ(attention_of(**two_ropes, 0).rope.value().base, 10000);
    EXPECT_EQ(attention_of(**two_ropes, 1).window, 0);
    EXPECT_EQ(attention_of(**two_ropes, 1).rope.value().base, 1000000);
    shape.architecture = "cohere2";
    for (const std::vector<int64_t>& windowed :
         {std::vector<int64_t>{0, 1}, std::vector<int64_t>{0, 0}}) {
      const auto model =
          load(shape, both(set_integer("cohere2.attention.sliding_window", window),
                           set_array("cohere2.attention.sliding_window_pattern", windowed)));
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_FALSE(attention_of(**model, 0).rope.has_value());
      EXPECT_EQ(attention_of(**model, 1).rope.has_value(), windowed[1] != 0);
    }
  }
}

TEST(LoadModel, TheHeadMayBeTheEmbedding) {
  RandomModelShape shape;
  shape.tied_embeddings = true;
  const auto model = load(shape);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->spec().tied_embeddings);
  const Network& network = (*model)->network();
  EXPECT_EQ(network.head.matrix().panel(0), network.embedding.matrix().panel(0));
}

TEST(LoadModel, NamesWhatIsWrong) {
  const struct {
    Edit edit;
    absl::StatusCode code;
    std::string_view message;
  } cases[] = {
      {set_string("general.architecture", "grok"), absl::StatusCode::kUnimplemented,
       "architecture 'grok' is not supported yet; supported are: apertus, arcee, "},
      {set_integer("llama.block_count", 1'000'000), absl::StatusCode::kInvalidArgument,
       "llama.block_count"},
      {set_integer("llama.block_count", 3), absl::StatusCode::kNotFound,
       "tensor 'blk.2.attn_norm.weight' is missing"},
      {set_integer("llama.embedding_length", 48), absl::StatusCode::kInvalidArgument,
       "tensor 'token_embd.weight'"},
      {set_integer("llama.feed_forward_length", 95), absl::StatusCode::kInvalidArgument,
       "tensor 'blk.0.ffn_gate.weight' is 96 x 64, but the metadata asks for 95 x 64"},
      {set_integer("llama.attention.head_count", 0), absl::StatusCode::kInvalidArgument,
       "llama.attention.head_count"},
      {set_integer("llama.attention.head_count_kv", 3), absl::StatusCode::kInvalidArgument,
       "llama.attention.head_count_kv"},
      {set_integer("llama.attention.key_length", 1024), absl::StatusCode::kUnimplemented,
       "heads of 1024 dimensions ('llama.attention.key_length')"},
      {set_integer("llama.attention.value_length", 8), absl::StatusCode::kUnimplemented,
       "llama.attention.value_length"},
      {set_integer("llama.rope.dimension_count", 15), absl::StatusCode::kInvalidArgument,
       "llama.rope.dimension_count"},
      {set_number("llama.rope.freq_base", -1), absl::StatusCode::kInvalidArgument,
       "llama.rope.freq_base"},
      {set_string("llama.rope.scaling.type", "longrope"), absl::StatusCode::kUnimplemented,
       "rope scaling 'longrope'"},
      {set_integer("llama.expert_count", 8), absl::StatusCode::kUnimplemented,
       "llama.expert_count"},
      {set_array("llama.attention.key_length", {16, 16}), absl::StatusCode::kUnimplemented,
       "key 'llama.attention.key_length' is an array: layers that differ are not supported"},
      {set_array("llama.attention.head_count", {4, 2}), absl::StatusCode::kInvalidArgument,
       "tensor 'blk.1.attn_q.weight' is 64 x 64, but the metadata asks for 32 x 64"},
      {set_array("llama.attention.head_count_kv", {2, 0}), absl::StatusCode::kInvalidArgument,
       "key 'llama.attention.head_count_kv' is 0 for layer 1, but must be 1 to 4"},
      {set_array("llama.feed_forward_length", {96}), absl::StatusCode::kInvalidArgument,
       "key 'llama.feed_forward_length' has 1 values for 2 layers"},
      {set_integer("llama.vocab_size", 65), absl::StatusCode::kInvalidArgument,
       "tensor 'token_embd.weight' has 64 rows, but key 'llama.vocab_size' is 65"},
      {without("output_norm.weight"), absl::StatusCode::kNotFound,
       "tensor 'output_norm.weight' is missing"},
      {without("blk.1.ffn_down.weight"), absl::StatusCode::kNotFound,
       "tensor 'blk.1.ffn_down.weight' is missing"},
      {without("token_embd.weight"), absl::StatusCode::kNotFound,
       "tensor 'token_embd.weight' is missing"},
  };
  for (const auto& c : cases) {
    const auto model = load({}, c.edit);
    ASSERT_FALSE(model.ok()) << c.message;
    EXPECT_EQ(model.status().code(), c.code) << model.status();
    EXPECT_NE(message_of(model.status()).find(c.message), std::string_view::npos) << model.status();
  }
}

// One value of each tensor in turn, so that matrices, norms and biases all are.
TEST(LoadModel, NamesTheTensorWhoseValuesAreNotNumbers) {
  RandomModelShape shape;
  shape.architecture = "qwen2";
  const auto file = random_model(shape).value();
  const auto checkpoint = Checkpoint::parse(file).value();
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    for (const float value : {std::nanf(""), INFINITY, -INFINITY}) {
      std::vector<std::byte> wrong = file;
      const auto at = static_cast<size_t>(tensor.file_offset) +
                      static_cast<size_t>(tensor.layout.elements() / 2) * sizeof(float);
      std::memcpy(wrong.data() + at, &value, sizeof value);
      LanePool lanes(2);
      const absl::Status status = load_model(Checkpoint::parse(wrong).value(), {}, lanes).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      EXPECT_EQ(message_of(status),
                fmt::format("tensor '{}' holds values that are not numbers (NaN or infinite)",
                            tensor.name));
    }
  }
}

TEST(LoadModel, RopeFactorsArePositiveNumbers) {
  const auto load_with = [](std::vector<float> factors) {
    Edit edit = with("rope_freqs.weight", {std::ssize(factors)});
    const auto add = edit.tensors;
    edit.tensors = [=](EditedTensors& tensors) {
      add(tensors);
      std::memcpy(tensors.back().bytes.data(), factors.data(), factors.size() * sizeof(float));
    };
    return load_edited({}, edit).status();
  };
  EXPECT_TRUE(load_with({1, 2, 3, 4, 5, 6, 7, 8}).ok());
  EXPECT_NE(message_of(load_with({1, 2, 3, 0, 5, 6, 7, 8})).find("must be positive"),
            std::string_view::npos);
  EXPECT_NE(message_of(load_with({1, INFINITY, 3, 4, 5, 6, 7, 8})).find("rope_freqs.weight"),
            std::string_view::npos);
  EXPECT_NE(message_of(load_with({1, 2, 3, 4})).find("'rope_freqs.weight' is 4, but"),
            std::string_view::npos);
}

TEST(LoadModel, AFileThatShrinksIsAnError) {
  const std::string path =
      std::filesystem::temp_directory_path() / fmt::format("millrace-load-{}", ::getpid());
  const auto file = random_model({}).value();
  for (const size_t part : {0U, 1U, 2U, 3U}) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), std::ssize(file));
    const auto checkpoint = Checkpoint::open(path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    std::filesystem::resize_file(path, file.size() / 4 * part);
    LanePool lanes(2);
    const absl::Status status = load_model(*checkpoint, {}, lanes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_NE(message_of(status).find("became shorter"), std::string_view::npos) << status;
  }
  std::filesystem::remove(path);
}

TEST(LoadModel, ReportsProgressUpToAllOfIt) {
  const auto file = random_model({});
  ASSERT_TRUE(file.ok());
  const auto checkpoint = Checkpoint::parse(*file);
  ASSERT_TRUE(checkpoint.ok());
  std::vector<double> parts;
  LoadOptions options;
  options.progress = [&](double part) { parts.push_back(part); };
  LanePool lanes(1);
  ASSERT_TRUE(load_model(*checkpoint, options, lanes).ok());
  EXPECT_TRUE(std::ranges::is_sorted(parts));
  EXPECT_EQ(parts.back(), 1.0);
}

TEST(RopeFrequencies, LinearScalingAndFactorsDivide) {
  RopeSpec rope;
  rope.rotated = 8;
  rope.base = 10000;
  const std::vector<float> plain = rope_frequencies(rope, {});
  ASSERT_EQ(plain.size(), 4U);
  EXPECT_FLOAT_EQ(plain[0], 1);
  EXPECT_FLOAT_EQ(plain[1], 0.1F);
  EXPECT_FLOAT_EQ(plain[3], 0.001F);
  rope.scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 4};
  EXPECT_FLOAT_EQ(rope_frequencies(rope, {})[1], 0.025F);
  const std::vector<float> factors = {1, 2, 4, 8};
  rope.scaling = {};
  EXPECT_FLOAT_EQ(rope_frequencies(rope, factors)[1], 0.05F);
}

// YaRN keeps the pairs that turn often within the original context and interpolates those that turn
// less than once.
TEST(RopeFrequencies, YarnKeepsFastPairsAndStretchesSlowOnes) {
  RopeSpec rope;
  rope.rotated = 64;
  rope.base = 10000;
  const std::vector<float> plain = rope_frequencies(rope, {});
  rope.scaling = {.kind = RopeScaling::Kind::kYarn, .factor = 4, .original_context = 2048};
  const std::vector<float> yarn = rope_frequencies(rope, {});
  EXPECT_FLOAT_EQ(yarn.front(), plain.front());
  EXPECT_FLOAT_EQ(yarn.back(), plain.back() / 4);
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_LE(yarn[i], plain[i]);
    EXPECT_GE(yarn[i], plain[i] / 4 * 0.999F);
  }
  EXPECT_DOUBLE_EQ(yarn_magnitude(4), 1 + 0.1 * std::log(4.0));
}

}  // namespace
}  // namespace millrace
