#include "files/hub/hub_folder.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/checkpoint.h"
#include "files/safetensors/safetensors_reader.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kFolders = "../shared/data/models/tiny-hf";
const std::filesystem::path kTwins = "../shared/data/models/tiny";

std::vector<float> values_of(const Checkpoint& checkpoint, const NamedTensor& tensor) {
  const auto bytes = checkpoint.read(tensor).value();
  std::vector<float> values;
  for (int64_t i = 0; i < tensor.layout.elements(); ++i) {
    float value = 0;
    uint16_t bits = 0;
    if (tensor.layout.dtype == DType::kF32) {
      std::memcpy(&value, bytes.data() + i * 4, sizeof value);
    } else {
      std::memcpy(&bits, bytes.data() + i * 2, sizeof bits);
      value = tensor.layout.dtype == DType::kBF16 ? f32_of_bf16(bits) : f32_of_f16(bits);
    }
    values.push_back(value);
  }
  return values;
}

// What the GGUF file says about its model but for the tokenizer, the folder says too, and each
// tensor has the same values.
TEST(HubFolder, IsWhatConvertersMakeOfIt) {
  if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
  for (const std::string name :
       {"tiny-llama", "tiny-llama3-rope", "tiny-mistral-window", "tiny-qwen2", "tiny-qwen3"}) {
    const auto folder = Checkpoint::open((kFolders / name).string());
    ASSERT_TRUE(folder.ok()) << folder.status();
    const auto twin = Checkpoint::open((kTwins / (name + ".gguf")).string()).value();
    for (const auto& [key, value] : twin.metadata().entries()) {
      if (key.starts_with("tokenizer.")) continue;
      const MetaValue* mine = folder->metadata().find(key);
      ASSERT_NE(mine, nullptr) << name << " " << key;
      EXPECT_EQ(mine->type, value.type) << key;
      if (const auto* integer = std::get_if<int64_t>(&value.value)) {
        EXPECT_EQ(std::get<int64_t>(mine->value), *integer) << key;
      } else if (const auto* number = std::get_if<double>(&value.value)) {
        EXPECT_EQ(std::get<double>(mine->value), *number) << key;
      } else {
        EXPECT_EQ(std::get<std::string_view>(mine->value), std::get<std::string_view>(value.value));
      }
    }
    ASSERT_EQ(folder->tensors().size(), twin.tensors().size()) << name;
    for (const NamedTensor& tensor : twin.tensors()) {
      const NamedTensor* mine = folder->find(tensor.name);
      ASSERT_NE(mine, nullptr) << tensor.name;
      EXPECT_EQ(mine->layout.shape, tensor.layout.shape) << tensor.name;
      std::vector<float> values = values_of(twin, tensor);
      if (tensor.name != "rope_freqs.weight") {  // the folder's files are BF16
        for (float& value : values) value = f32_of_bf16(bf16_of_f32(value));
      }
      EXPECT_EQ(values_of(*folder, *mine), values) << name << " " << tensor.name;
    }
  }
}

TEST(HubFolder, OpensEveryArchitecture) {
  if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
  for (const std::string name :
       {"apertus",   "arcee",      "bitnet",       "bloom",        "cohere",
        "cohere2",   "ernie4-5",   "ernie4-5-moe", "exaone4",      "falcon",
        "gemma2",    "gemma3",     "glm4",         "gpt-neox",     "gpt-oss",
        "gpt2",      "gptj",       "granite",      "granite-moe",  "hunyuan",
        "llama4",    "ministral3", "deepseek-v2",  "deepseek-v3",  "glm4-moe-lite",
        "gemma4",    "mixtral",    "mpt",          "nemotron",     "olmo2",
        "olmo3",     "olmoe",      "opt",          "phi",          "phi3",
        "phimoe",    "qwen2-moe",  "qwen3-moe",    "seed-oss",     "smollm3",
        "stablelm",  "starcoder2", "falcon-h1",    "falcon-mamba", "granite-hybrid",
        "jamba",     "lfm2",       "lfm2-moe",     "lfm3",         "mamba",
        "mamba2",    "minimax",    "nemotron-h",   "qwen3-5",      "qwen3-5-moe",
        "qwen3-next"}) {
    const auto folder = Checkpoint::open((kFolders / name).string());
    EXPECT_TRUE(folder.ok()) << name << ": " << folder.status();
    if (!folder.ok()) continue;
    for (const NamedTensor& tensor : folder->tensors()) {
      EXPECT_TRUE(folder->read(tensor).ok()) << tensor.name;
    }
  }
}

// A folder with the weights of a shared one and a config.json that says something else too.
class EditedFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
    std::filesystem::create_directories(folder_);
    take("tiny-llama");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void take(std::string_view name) {
    std::filesystem::copy_file(kFolders / name / "model.safetensors", folder_ / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    std::ifstream in(kFolders / name / "config.json");
    config_.assign(std::istreambuf_iterator<char>(in), {});
  }
  void write(std::string_view name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string open() const {
    const auto opened = Checkpoint::open(folder_.string());
    return opened.ok() ? "opened" : std::string(message_of(opened.status()));
  }
  std::string open_with(std::string_view from, std::string_view to) const {
    std::string edited = config_;
    const size_t at = edited.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    write("config.json", edited.replace(at, from.size(), to));
    return open();
  }
  std::string open_with(std::string_view more) const {
    return open_with("{", fmt::format("{{{}, ", more));
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("hub-{}", ::getpid());
  std::string config_;
};

TEST_F(EditedFolderTest, KeysThatMayChangeAnswersAreRefused) {
  EXPECT_EQ(open_with("{", "{"), "opened");
  EXPECT_EQ(open_with(R"("unsloth_version": "1", "some_dropout": 0.1, "hidden_dropout_prob": 0)"),
            "opened");
  EXPECT_EQ(open_with(R"("_model_name_or_path": "SmolLM2")"), "opened");  // made from a GGUF file
  EXPECT_EQ(open_with(R"("another_thing": null)"), "opened");
  EXPECT_THAT(open_with(R"("another_thing": 1)"),
              HasSubstr("config.json: another_thing is not known, and may change the model's"));
  EXPECT_THAT(open_with(R"("quantization_config": {"quant_method": "gptq", "bits": 4})"),
              HasSubstr("quantised with 'gptq'"));
  EXPECT_THAT(open_with(R"("layer_types": ["full_attention", "linear_attention", "x"])"),
              HasSubstr("layer_types has 'linear_attention'"));
  EXPECT_THAT(open_with(R"("layer_types": ["full_attention"])"), HasSubstr("1 elements for 3"));
  EXPECT_THAT(open_with("\"silu\"", "\"gelu\""), HasSubstr("hidden_act is 'gelu': only 'silu'"));
  EXPECT_THAT(open_with("LlamaForCausalLM", "WhaleForCausalLM"), HasSubstr("'WhaleForCausalLM'"));
  EXPECT_THAT(open_with("\"default\"", "\"warp\""), HasSubstr("rope_type is 'warp'"));
  EXPECT_THAT(open_with("\"rope_theta\"", "\"x\": 1, \"rope_theta\""),
              HasSubstr("rope_parameters.x is not known"));
  EXPECT_THAT(open_with("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"),
              HasSubstr("is of layer 2, but config.json says 2 layers"));
  EXPECT_THAT(open_with("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
              HasSubstr("num_key_value_heads does not divide the 4"));
  EXPECT_THAT(open_with("\"num_attention_heads\": 4", "\"num_attention_heads\": 8"),
              HasSubstr("must have 128 rows: 8 heads of 16"));
  EXPECT_THAT(open_with("\"hidden_size\": 64", "\"hidden_size\": \"64\""),
              HasSubstr("hidden_size is string, not an integer"));
  EXPECT_THAT(open_with("\"hidden_size\": 64,", ""), HasSubstr("hidden_size is missing"));
  EXPECT_THAT(open_with("\"hidden_size\": 64", "\"hidden_size\": -64"), HasSubstr("is -64"));
  EXPECT_THAT(open_with("\"hidden_size\"", "\"head_dim\": 16, \"hidden_size\""),
              HasSubstr("the key 'head_dim' twice"));
}

TEST_F(EditedFolderTest, TheOlderWayToSayRopeIsReadToo) {
  const auto factor_of = [&](std::string_view rope) {
    EXPECT_EQ(open_with("\"rope_parameters\": {",
                        fmt::format("{}, \"was\": null, \"old\": null, "
                                    "\"rope_parameters\": null, \"x\": null, \"_name_or_path\": {{",
                                    rope)),
              "opened");
    return Checkpoint::open(folder_.string()).value();
  };
  const auto linear =
      factor_of(R"("rope_theta": 5000.0, "rope_scaling": {"type": "linear", "factor": 2.0})");
  EXPECT_EQ(linear.metadata().number("llama.rope.freq_base").value(), 5000);
  EXPECT_EQ(linear.metadata().string("llama.rope.scaling.type").value(), "linear");
  EXPECT_EQ(linear.metadata().number("llama.rope.scaling.factor").value(), 2);
  const auto yarn =
      factor_of(R"("rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.0,)"
                R"( "original_max_position_embeddings": 64})");
  EXPECT_EQ(yarn.metadata().integer("llama.rope.scaling.original_context_length", 0, 999).value(),
            64);
  EXPECT_NEAR(yarn.metadata().number("llama.rope.scaling.attn_factor").value(),
              1 / (1 + 0.1 * std::log(4)), 1e-6);
  const auto dynamic = factor_of(R"("rope_scaling": {"type": "dynamic", "factor": 4.0})");
  EXPECT_FALSE(dynamic.metadata().has("llama.rope.scaling.type"));
  const auto longrope =
      factor_of(R"("original_max_position_embeddings": 64, "rope_scaling": {"type": "su",)"
                R"( "short_factor": [1,1,1,1,1,1,1,1], "long_factor": [1,2,3,4,5,6,7,8]})");
  EXPECT_NEAR(longrope.metadata().number("llama.rope.scaling.attn_factor").value(),
              std::sqrt(1 + std::log(4) / std::log(64)), 1e-6);
  EXPECT_EQ(values_of(longrope, *longrope.find("rope_factors_long.weight"))[7], 8);
  const auto stretched =
      factor_of(R"("original_max_position_embeddings": 64, "rope_scaling": {"type": "longrope",)"
                R"( "factor": 16, "short_factor": [1,1,1,1,1,1,1,1],)"
                R"( "long_factor": [1,2,3,4,5,6,7,8]})");
  EXPECT_NEAR(stretched.metadata().number("llama.rope.scaling.attn_factor").value(),
              std::sqrt(1 + std::log(16) / std::log(64)), 1e-6);
}

TEST_F(EditedFolderTest, KeysOfPublishedFoldersThatSayNothingArePassedOver) {
  take("gemma2");
  EXPECT_EQ(open_with(R"("sliding_window_size": 4096)"), "opened");
  take("hunyuan");
  EXPECT_EQ(open_with(R"("cla_share_factor": 2, "use_cla": false, "dense_list": [4096, 0],)"
                      R"( "im_newline_id": 11, "text_start_id": 6, "text_end_id": 7,)"
                      R"( "use_rotary_pos_emb": true)"),
            "opened");
  EXPECT_THAT(open_with(R"("use_cla": true)"), HasSubstr("use_cla is true: not supported"));
}

TEST_F(EditedFolderTest, KindsOfLayersAreReadAsPublishedFoldersSayThem) {
  const auto integers = [&](std::string_view key) {
    return Checkpoint::open(folder_.string()).value().metadata().integers(key).value();
  };
  // What the key says gets the name of one without meaning.
  const auto open_instead = [&](std::string_view key, std::string_view other) {
    return open_with(fmt::format("\"{}\"", key), fmt::format("{}, \"problem_type\"", other));
  };
  using Integers = std::vector<int64_t>;
  take("nemotron-h");
  constexpr std::string_view kBlocks = "layers_block_type";
  constexpr std::string_view kPattern = R"("num_hidden_layers": 3, "hybrid_override_pattern": )";
  EXPECT_EQ(open_instead(kBlocks, fmt::format("{}\"M*-\"", kPattern)), "opened");
  EXPECT_EQ(integers("nemotron_h.attention.head_count_kv"), (Integers{0, 2, 0}));
  EXPECT_EQ(integers("nemotron_h.feed_forward_length"), (Integers{0, 0, 96}));
  EXPECT_THAT(open_instead(kBlocks, fmt::format("{}\"M*?\"", kPattern)),
              HasSubstr("hybrid_override_pattern has '?', which is not supported"));
  EXPECT_THAT(open_instead(kBlocks, fmt::format("{}\"M*\"", kPattern)),
              HasSubstr("hybrid_override_pattern has 2 elements for 3 layers"));
  take("granite-hybrid");
  EXPECT_EQ(open_instead("layer_types", R"("layer_types": ["mamba", "attention", "mamba"])"),
            "opened");
  EXPECT_EQ(integers("granitehybrid.attention.head_count_kv"), (Integers{0, 2, 0}));
  take("minimax");
  EXPECT_EQ(open_instead("layer_types", R"("attn_type_list": [0, 1, 0], "postnorm": true)"),
            "opened");
  EXPECT_EQ(integers("minimax-01.attention.recurrent_layers"), (Integers{1, 0, 1}));
  take("qwen3-next");
  EXPECT_EQ(
      open_instead("layer_types", R"("use_sliding_window": false, "full_attention_interval": 3)"),
      "opened");
  EXPECT_EQ(integers("qwen3next.attention.recurrent_layers"), (Integers{1, 1, 0}));
  EXPECT_THAT(open_with(R"("use_sliding_window": true)"), HasSubstr("windows of attention"));
}

TEST_F(EditedFolderTest, KimiLinearNamesEachLayerOnce) {
  take(std::filesystem::absolute("tests/models/kimi-linear").string());
  constexpr std::string_view kFull = "full_attn_layers\": [\n   2,\n   4\n  ]";
  EXPECT_EQ(open_with("{", "{"), "opened");
  EXPECT_THAT(open_with(kFull, "full_attn_layers\": [2]"),
              HasSubstr("linear_attn_config.full_attn_layers and kda_layers do not name each"));
  EXPECT_THAT(open_with(kFull, "full_attn_layers\": [2, 3, 4]"), HasSubstr("do not name each"));
  EXPECT_THAT(open_with(kFull, "full_attn_layers\": [2, 5]"), HasSubstr("has 5 with 4 layers"));
  EXPECT_THAT(open_with(R"("layer_types": ["full_attention"])"), HasSubstr("1 elements for 4"));
  EXPECT_THAT(open_with(R"("mla_use_nope": true)", R"("mla_use_nope": false)"),
              HasSubstr("mla_use_nope"));
  EXPECT_THAT(open_with("\"sigmoid\"", "\"softmax\""),
              HasSubstr("moe_router_activation_func is not 'sigmoid'"));
}

// Python's writer has a word for infinity that is no JSON, newer ones an object.
TEST_F(EditedFolderTest, LimitsMayBeInfinite) {
  take("mamba2");
  const auto open_limited = [&](std::string_view limit) {
    return open_with("\"time_step_limit\"",
                     fmt::format("\"time_step_limit\": {}, \"problem_type\"", limit));
  };
  const auto has_limit = [&](std::string_view limit) {
    EXPECT_EQ(open_limited(limit), "opened") << limit;
    const auto opened = Checkpoint::open(folder_.string()).value();
    return opened.metadata().has("mamba2.ssm.time_step_max");
  };
  EXPECT_FALSE(has_limit(R"([0.0, {"__float__": "Infinity"}])"));
  EXPECT_FALSE(has_limit("[0.0, Infinity]"));
  EXPECT_TRUE(has_limit("[0.0, 0.5]"));
  EXPECT_THAT(open_limited(R"([0.0, {"__float__": "much"}])"), HasSubstr("is not a number"));
  EXPECT_THAT(open_limited("[1.0, 0.5]"), HasSubstr("the smaller first"));
  EXPECT_EQ(open_with(R"("_name_or_path": "to \"Infinity\" and beyond")"), "opened");
}

TEST_F(EditedFolderTest, RopeThatIsStretchedIsSoInEveryArchitecture) {
  for (const auto& [folder, name, without] :
       {std::tuple("cohere", "command-r", "none"), std::tuple("cohere2", "cohere2", "none"),
        std::tuple("nemotron", "nemotron", "none"), std::tuple("bitnet", "bitnet", "linear")}) {
    take(folder);
    const auto type_with = [this, folder = folder, name = name](std::string_view rope) {
      EXPECT_EQ(open_with("\"rope_type\": \"default\"", rope), "opened") << folder;
      const auto opened = Checkpoint::open(folder_.string()).value();
      return std::string(
          opened.metadata().string(fmt::format("{}.rope.scaling.type", name)).value());
    };
    EXPECT_EQ(type_with(R"("rope_type": "default")"), without) << folder;
    EXPECT_EQ(type_with(R"("rope_type": "yarn", "factor": 4)"), "yarn") << folder;
    EXPECT_EQ(type_with(R"("rope_type": "linear", "factor": 4)"), "linear") << folder;
    const auto linear = Checkpoint::open(folder_.string()).value();
    EXPECT_EQ(linear.metadata().number(fmt::format("{}.rope.scaling.factor", name)).value(), 4);
  }
}

TEST_F(EditedFolderTest, PartsOfHeadsAreRotatedWhereTheArchitectureDoesSo) {
  constexpr std::string_view kRope = "\"rope_parameters\": {";
  const auto half = fmt::format("{}\"partial_rotary_factor\": 0.5, ", kRope);
  EXPECT_THAT(open_with(kRope, half), HasSubstr("partial_rotary_factor is not 1: not supported"));
  EXPECT_EQ(open_with(kRope, fmt::format("{}\"partial_rotary_factor\": 1.0, ", kRope)), "opened");
  take("phi3");
  EXPECT_EQ(open_with("\"partial_rotary_factor\": 1.0", "\"partial_rotary_factor\": 0.5"),
            "opened");
  const auto phi3 = Checkpoint::open(folder_.string()).value();
  EXPECT_EQ(phi3.metadata().integer("phi3.rope.dimension_count", 0, 999).value(),
            phi3.metadata().integer("phi3.attention.key_length", 0, 999).value() / 2);
}

TEST_F(EditedFolderTest, EveryLayerOfQwen3MoeHasTheWindowThatIsSwitchedOn) {
  take("qwen3-moe");
  constexpr std::string_view kNone = "\"sliding_window\": null";
  config_.replace(config_.find(kNone), kNone.size(), "\"sliding_window\": 8");
  constexpr std::string_view kPattern = "qwen3moe.attention.sliding_window_pattern";
  EXPECT_EQ(open_with("{", "{"), "opened");
  EXPECT_FALSE(Checkpoint::open(folder_.string()).value().metadata().has(kPattern));
  EXPECT_EQ(open_with("\"use_sliding_window\": false",
                      "\"use_sliding_window\": true, \"max_window_layers\": 28"),
            "opened");
  const auto opened = Checkpoint::open(folder_.string()).value();
  EXPECT_EQ(opened.metadata().integers(kPattern).value(), (std::vector<int64_t>{1, 1, 1}));
}

TEST_F(EditedFolderTest, WeightsMayLieInSeveralFiles) {
  write("config.json", config_);
  std::filesystem::rename(folder_ / "model.safetensors", folder_ / "part.safetensors");
  EXPECT_THAT(open(), HasSubstr("no model.safetensors and no model.safetensors.index.json"));
  write("pytorch_model.bin", "");
  EXPECT_THAT(open(), HasSubstr("in pytorch_model.bin alone"));
  std::string map;
  const auto whole = Checkpoint::open((kFolders / "tiny-llama").string()).value();
  CheckpointFile file = {FileBytes::open((folder_ / "part.safetensors").string()).value(), {}};
  const auto stored = read_safetensors(file).value();
  for (const StoredTensor& tensor : stored) {
    map += fmt::format(R"({}"{}": "part.safetensors")", map.empty() ? "" : ", ", tensor.name);
  }
  const auto with_map = [&](std::string_view more) {
    write("model.safetensors.index.json",
          fmt::format(R"({{"metadata": {{"total_size": 1}}, "weight_map": {{{}}}}})", more));
    return open();
  };
  EXPECT_EQ(with_map(map), "opened");
  const auto opened = Checkpoint::open(folder_.string()).value();
  EXPECT_EQ(opened.tensors().size(), whole.tensors().size());
  EXPECT_EQ(opened.files().size(), 3u);  // the part, the index and config.json
  EXPECT_THAT(with_map(map + R"(, "x.weight": "part.safetensors")"),
              HasSubstr("tensor 'x.weight' is not in part.safetensors"));
  EXPECT_THAT(with_map(map.substr(map.find(", ") + 2)), HasSubstr("the index says nothing of it"));
  EXPECT_THAT(with_map(R"("x": "../part.safetensors")"), HasSubstr("is not the name of a"));
  EXPECT_THAT(with_map(R"("x": "no.safetensors")"), HasSubstr("cannot open"));
  EXPECT_THAT(with_map(R"("x": 1)"), HasSubstr("weight_map.x is number"));
}

}  // namespace
}  // namespace millrace
