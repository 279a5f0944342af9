#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/checkpoint.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kSizes = R"("architectures": ["Gemma3nForCausalLM"], "vocab_size": 5,
    "hidden_size": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 4, "max_position_embeddings": 64, "num_kv_shared_layers": 1,
    "altup_coef_clip": 120.0, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0)";

// A folder of some tensors of two columns, of ones.
class Gemma3nFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    const std::pair<const char*, int> tensors[] = {
        {"model.embed_tokens.weight", 5},
        {"model.embed_tokens_per_layer.weight", 3},
        {"model.altup_projections.1.weight", 2},
        {"model.altup_projections.0.weight", 2},
        {"model.layers.2.altup.correct_output_scale", 1},
        {"model.layers.0.altup.modality_router.weight", 3},
        {"model.layers.0.laurel.linear_left.weight", 7},
    };
    std::string head = "{", data;
    for (const auto& [name, rows] : tensors) {
      const size_t begin = data.size();
      const float number = 1;
      for (int i = 0; i < 2 * rows; ++i) {
        data.append(reinterpret_cast<const char*>(&number), sizeof number);
      }
      head += fmt::format(R"({}"{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})",
                          begin == 0 ? "" : ",", name, rows == 1 ? "2" : fmt::format("{},2", rows),
                          begin, data.size());
    }
    head += "}";
    const uint64_t size = head.size();
    std::ofstream file(folder_ / "model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char*>(&size), sizeof size);
    file << head << data;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<Checkpoint> open(std::string_view more, int layers = 3) const {
    std::ofstream(folder_ / "config.json")
        << fmt::format(R"({{{}, "num_hidden_layers": {}, {}}})", kSizes, layers, more);
    return Checkpoint::open(folder_.string());
  }
  std::string error_of(std::string_view more) const {
    const auto opened = open(more);
    return opened.ok() ? "opened" : std::string(message_of(opened.status()));
  }
  static std::vector<double> deviations_of(const Checkpoint& checkpoint) {
    return checkpoint.metadata().numbers("gemma3n.activation_sparsity_scale").value();
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("gemma3n-{}", ::getpid());
};

TEST_F(Gemma3nFolder, SaysWhatConvertersSay) {
  const auto folder = open(
      R"("intermediate_size": [8, 8, 16], "activation_sparsity_pattern": [0.95, 0.99, 0.0],
         "layer_types": ["sliding_attention", "full_attention", "full_attention"],
         "altup_num_inputs": 3, "altup_active_idx": 1, "hidden_size_per_layer_input": 4,
         "final_logit_softcapping": 25.0, "altup_correct_scale": true)");
  ASSERT_TRUE(folder.ok()) << folder.status();
  const Metadata& metadata = folder->metadata();
  const auto integer = [&](const char* key) {
    return metadata.integer(fmt::format("gemma3n.{}", key), 0, 1 << 20).value();
  };
  EXPECT_EQ(integer("altup.num_inputs"), 3);
  EXPECT_EQ(integer("altup.active_idx"), 1);
  EXPECT_EQ(integer("embedding_length_per_layer_input"), 4);
  EXPECT_EQ(integer("attention.shared_kv_layers"), 1);
  EXPECT_EQ(integer("attention.sliding_window"), 512);
  EXPECT_EQ(metadata.number("gemma3n.final_logit_softcapping").value(), 25);
  EXPECT_EQ(metadata.number("gemma3n.rope.freq_base_swa").value(), 10000);
  EXPECT_THAT(metadata.integers("gemma3n.feed_forward_length").value(), ElementsAre(8, 8, 16));
  EXPECT_THAT(metadata.integers("gemma3n.attention.sliding_window_pattern").value(),
              ElementsAre(1, 0, 0));
  EXPECT_THAT(deviations_of(*folder), ElementsAre(1.64485359F, 2.3263483F, -INFINITY));
  const auto shape_of = [&](const char* name) {
    const TensorLayout& layout = folder->find(name)->layout;
    return std::vector<int64_t>(layout.shape.begin(), layout.shape.begin() + layout.rank);
  };
  EXPECT_THAT(shape_of("per_layer_token_embd.weight"), ElementsAre(5, 2));
  EXPECT_THAT(shape_of("altup_proj.weight"), ElementsAre(2, 2, 2));
  EXPECT_THAT(shape_of("blk.2.altup_correct_scale.weight"), ElementsAre(2));
  EXPECT_THAT(shape_of("blk.0.altup_router.weight"), ElementsAre(3, 2));
  EXPECT_THAT(shape_of("blk.0.laurel_l.weight"), ElementsAre(7, 2));
  EXPECT_EQ(folder->find("blk.0.altup_correct_scale.weight"), nullptr);
}

TEST_F(Gemma3nFolder, HasWhatTheClassHasWhereItDoesNotSay) {
  const auto folder = open(R"("intermediate_size": 8, "altup_correct_scale": false)");
  ASSERT_TRUE(folder.ok()) << folder.status();
  const Metadata& metadata = folder->metadata();
  EXPECT_EQ(metadata.integer("gemma3n.feed_forward_length", 0, 99).value(), 8);
  EXPECT_EQ(metadata.integer("gemma3n.altup.num_inputs", 0, 99).value(), 4);
  EXPECT_EQ(metadata.number("gemma3n.final_logit_softcapping").value(), 30);
  EXPECT_THAT(deviations_of(*folder), ElementsAre(-INFINITY, -INFINITY, -INFINITY));
  for (const int layer : {0, 1, 2}) {
    const NamedTensor* scale =
        folder->find(fmt::format("blk.{}.altup_correct_scale.weight", layer));
    ASSERT_NE(scale, nullptr);
    EXPECT_THAT(scale->values, ElementsAre(1, 1));
  }
  const auto deep = open(R"("intermediate_size": 8)", 12);
  ASSERT_TRUE(deep.ok()) << deep.status();
  const std::vector<double> deviations = deviations_of(*deep);
  EXPECT_NEAR(deviations[9], 1.6448536, 1e-6);
  EXPECT_EQ(deviations[10], -INFINITY);
}

TEST_F(Gemma3nFolder, WhatIsNoModelIsRefusedByItsKey) {
  EXPECT_THAT(error_of(R"("intermediate_size": [8, 8])"),
              HasSubstr("intermediate_size has 2 elements for 3 layers"));
  EXPECT_THAT(error_of(R"("intermediate_size": [8, 8, 0.5])"), HasSubstr("intermediate_size must"));
  const auto with = [](std::string_view more) {
    return fmt::format(R"("intermediate_size": 8, {})", more);
  };
  EXPECT_THAT(error_of(with(R"("activation_sparsity_pattern": [0.5])")),
              HasSubstr("activation_sparsity_pattern has 1 elements for 3 layers"));
  for (const char* share : {"1.0", "-0.5", "2"}) {
    EXPECT_THAT(
        error_of(with(fmt::format(R"("activation_sparsity_pattern": [0.5, {}, 0.0])", share))),
        HasSubstr("activation_sparsity_pattern must be at least 0 and below 1"));
  }
  EXPECT_THAT(error_of(with(R"("altup_num_inputs": 1)")), HasSubstr("altup_num_inputs"));
  EXPECT_THAT(error_of(with(R"("altup_active_idx": 4)")), HasSubstr("altup_active_idx"));
  EXPECT_THAT(error_of(with(R"("num_kv_shared_layers": 3)")), HasSubstr("num_kv_shared_layers"));
  EXPECT_THAT(error_of(with(R"("hidden_size_per_layer_input": 0)")),
              HasSubstr("hidden_size_per_layer_input"));
  EXPECT_THAT(error_of(with(R"("hidden_activation": "silu")")), HasSubstr("hidden_activation"));
  EXPECT_THAT(error_of(with(R"("altup_new_thing": 1)")), HasSubstr("altup_new_thing"));
}

}  // namespace
}  // namespace millrace
