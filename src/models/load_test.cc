#include "models/load.h"

#include <cmath>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "files/gguf_writer.h"
#include "models/random.h"

namespace millrace {
namespace {

// A random model's file with something about it changed.
struct Edit {
  std::function<void(Metadata&)> metadata = [](Metadata&) {};
  std::function<void(std::vector<NamedTensor>&)> tensors = [](std::vector<NamedTensor>&) {};
};

absl::StatusOr<std::vector<std::byte>> edited(const RandomModelShape& shape, const Edit& edit) {
  ASSIGN_OR_RETURN(const auto file, random_model(shape));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::parse(file));
  Metadata metadata;
  for (const auto& [key, value] : checkpoint.metadata().entries()) {
    RETURN_IF_ERROR(metadata.add(key, value));
  }
  edit.metadata(metadata);
  std::vector<NamedTensor> tensors(checkpoint.tensors().begin(), checkpoint.tensors().end());
  edit.tensors(tensors);
  std::vector<std::byte> out;
  GgufWriter writer([&](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  });
  std::vector<TensorPlan> plans;
  for (const NamedTensor& tensor : tensors) {
    const auto& shape_of = tensor.layout.shape;
    plans.push_back({tensor.name,
                     tensor.layout.dtype,
                     {shape_of.begin(), shape_of.begin() + tensor.layout.rank}});
  }
  RETURN_IF_ERROR(writer.begin(metadata, plans));
  for (const NamedTensor& tensor : tensors)
    RETURN_IF_ERROR(writer.write(checkpoint.read(tensor).value()));
  RETURN_IF_ERROR(writer.end());
  return out;
}

absl::StatusOr<std::unique_ptr<Model>> load(const RandomModelShape& shape, const Edit& edit = {}) {
  ASSIGN_OR_RETURN(const auto file, edited(shape, edit));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::parse(file));
  LanePool lanes(2);
  return load_model(checkpoint, {}, lanes);
}

Edit set_integer(std::string key, int64_t value) {
  return {.metadata = [=](Metadata& m) { m.set_integer(key, MetaType::kU32, value); }};
}
Edit set_number(std::string key, double value) {
  return {.metadata = [=](Metadata& m) { m.set_number(key, value); }};
}
Edit set_string(std::string key, std::string value) {
  return {.metadata = [=](Metadata& m) { m.set_string(key, value); }};
}
Edit without(std::string name) {
  return {.tensors = [=](std::vector<NamedTensor>& tensors) {
    std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == name; });
  }};
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
    EXPECT_EQ(spec.rope.pairs,
              architecture == "llama" ? ops::Rope::Pairs::kNeighbours : ops::Rope::Pairs::kHalves);
    const auto& attention = std::get<AttentionSpec>(spec.layers[0].sublayers[0]);
    EXPECT_EQ(attention.biases, architecture == "qwen2");
    EXPECT_EQ(attention.head_norms, architecture == "qwen3");
    EXPECT_EQ(attention.kv_heads, 2);
    EXPECT_FLOAT_EQ(attention.scale, 0.25F);
    EXPECT_EQ((*model)->network().sublayers.size(), 4U);
  }
}

TEST(LoadModel, TheHeadMayBeTheEmbedding) {
  RandomModelShape shape;
  shape.tied_embeddings = true;
  const auto model = load(shape);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->spec().tied_embeddings);
  EXPECT_EQ((*model)->network().head.panel(0), (*model)->network().embedding.panel(0));
}

TEST(LoadModel, NamesWhatIsWrong) {
  const struct {
    Edit edit;
    absl::StatusCode code;
    std::string_view message;
  } cases[] = {
      {set_string("general.architecture", "mamba"), absl::StatusCode::kUnimplemented,
       "architecture 'mamba' is not supported yet; supported are: llama, qwen2, qwen3"},
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
      {set_integer("llama.attention.key_length", 512), absl::StatusCode::kUnimplemented,
       "heads of 512 dimensions ('llama.attention.key_length')"},
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
  EXPECT_FLOAT_EQ(rope_magnitude(rope.scaling), 1 + 0.1F * std::log(4.0F));
}

}  // namespace
}  // namespace millrace
