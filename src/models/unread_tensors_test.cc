#include "models/unread_tensors.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

TEST(UnreadTensors, AreRefusedByName) {
  const struct {
    Edit edit;
    std::string_view message;
  } cases[] = {
      {with("blk.1.ffn_up.bias", {96}),
       "tensor 'blk.1.ffn_up.bias' would not be used: not supported: biases of the feed-forward"},
      {with("blk.1.ffn_down.bias", {64}), "'blk.1.ffn_down.bias'"},
      {with("blk.0.attn_k.bias", {32}), "biases of keys without those of queries"},
      {with("blk.0.attn_v.bias", {32}), "biases of values without those of queries"},
      {with("blk.1.attn_q.bias", {64}), "'blk.1.attn_q.bias'"},
      {with("blk.1.attn_output.bias", {64}), "'blk.1.attn_output.bias'"},
      {with("blk.1.attn_norm.bias", {64}), "biases of norms"},
      {with("blk.1.post_attention_norm.weight", {64}), "norms after attention"},
      {with("blk.1.post_ffw_norm.weight", {64}), "norms after the feed-forward network"},
      {with("blk.1.attn_q_norm.weight", {16}), "norms of query heads"},
      {with("blk.1.attn_sub_norm.weight", {64}), "norms within attention"},
      {with("blk.1.attn_sinks.weight", {4}), "attention sinks"},
      {with("blk.0.attn_q.scale", {1}), "scales of whole tensors"},
      {with("blk.0.ffn_up.input_scale", {1}), "scales of a product's input"},
      {with("output.scale", {1}), "scales of whole tensors"},
      {with("blk.0.ffn_gate_exps.weight", {2, 96, 64}), "mixtures of experts"},
      {with("blk.1.attn_qkv.weight", {128, 64}), "queries, keys and values in one matrix"},
      {with("blk.0.rope_freqs.weight", {8}), "rope factors of single layers"},
      {with("token_types.weight", {2, 64}), "token types"},
      {with("cls.weight", {2, 64}), "a classifier"},
      {with("something.new", {3}), "Millrace does not know what it is for"},
      {with("blk.2.attn_norm.weight", {64}),
       "tensor 'blk.2.attn_norm.weight' is of a layer that the model does not have: key "
       "'llama.block_count' is 2"},
      {set_integer("llama.block_count", 1), "'blk.1.attn_norm.weight' is of a layer"},
  };
  for (const auto& c : cases) {
    const absl::Status status = load_edited({}, c.edit).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << c.message << status;
    EXPECT_THAT(message_of(status), HasSubstr(std::string(c.message)));
    EXPECT_EQ(message_of(status).find('\n'), std::string_view::npos);
  }
}

TEST(UnreadTensors, BiasesOfEveryLayerAreUsed) {
  Edit biases;
  for (const char* layer : {"blk.0.", "blk.1."}) {
    for (const auto& [name, size] : {std::pair{"attn_q.bias", 64},
                                     {"attn_k.bias", 32},
                                     {"attn_v.bias", 32},
                                     {"attn_output.bias", 64}}) {
      biases = both(biases, with(std::string(layer) + name, {size}));
    }
  }
  EXPECT_TRUE(load_edited({}, biases).ok());
  const absl::Status missing = load_edited({}, both(biases, without("blk.1.attn_k.bias"))).status();
  EXPECT_EQ(message_of(missing), "tensor 'blk.1.attn_k.bias' is missing");
}

// Which norms and biases there are is told by the first layer.
TEST(UnreadTensors, WhatTheFirstLayerHasTheOthersMustHave) {
  for (const auto& [name, size] : {std::pair{"ffn_down.bias", 64},
                                   {"attn_norm.bias", 64},
                                   {"post_ffw_norm.weight", 64},
                                   {"attn_sub_norm.weight", 64}}) {
    const std::string first = std::string("blk.0.") + name;
    const absl::Status status = load_edited({}, with(first, {size})).status();
    EXPECT_EQ(message_of(status), fmt::format("tensor 'blk.1.{}' is missing", name));
  }
  const absl::Status status = load_edited({}, with("blk.0.attn_q_norm.weight", {16})).status();
  EXPECT_EQ(message_of(status), "tensor 'blk.0.attn_k_norm.weight' is missing");
}

TEST(UnreadTensors, OfAwkwardFilesAreRefused) {
  const std::filesystem::path folder = "../shared/data/models/awkward";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  const auto load = [&](const char* name) {
    LanePool lanes(2);
    return load_model(Checkpoint::open(folder / name).value(), {}, lanes).status();
  };
  EXPECT_EQ(load("good.gguf"), absl::OkStatus());
  EXPECT_EQ(load("rank1-matrix.gguf"), absl::OkStatus());
  EXPECT_EQ(load("yarn.gguf"), absl::OkStatus());
  EXPECT_EQ(load("mlp-bias.gguf"), absl::OkStatus());
  EXPECT_THAT(message_of(load("half-the-layers.gguf")), HasSubstr("'llama.block_count' is"));
  EXPECT_EQ(load("softcap.gguf"), absl::OkStatus());
  EXPECT_THAT(message_of(load("nan-weight.gguf")), HasSubstr("values that are not numbers"));
}

}  // namespace
}  // namespace millrace
