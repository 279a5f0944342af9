#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/weights_plan.h"
#include "tests/fixtures/models/edited_model.h"
#include "tests/models/reference.h"
#include "tests/models/runner.h"

namespace millrace {
namespace {

RandomModelShape mixture(DType format, int64_t hidden) {
  RandomModelShape shape;
  shape.architecture = "qwen3moe";
  shape.format = format;
  shape.hidden = hidden;
  shape.experts = 5;
  return shape;
}

EditedTensor take(EditedTensors& tensors, const std::string& name) {
  const auto found =
      std::ranges::find(tensors, name, [](const EditedTensor& tensor) { return tensor.plan.name; });
  EditedTensor taken = std::move(*found);
  tensors.erase(found);
  return taken;
}

// Each expert's gates above its ups.
void fuse(EditedTensors& tensors, int32_t layer) {
  const EditedTensor gate = take(tensors, tensor_name("ffn_gate_exps.weight", layer));
  const EditedTensor up = take(tensors, tensor_name("ffn_up_exps.weight", layer));
  EditedTensor both = {
      {tensor_name("ffn_gate_up_exps.weight", layer), gate.plan.dtype, gate.plan.shape}, {}};
  both.plan.shape[1] *= 2;
  const auto size = static_cast<std::ptrdiff_t>(gate.bytes.size()) / gate.plan.shape[0];
  for (std::ptrdiff_t at = 0; at < std::ssize(gate.bytes); at += size) {
    for (const auto* one : {&gate.bytes, &up.bytes}) {
      both.bytes.insert(both.bytes.end(), one->begin() + at, one->begin() + at + size);
    }
  }
  tensors.push_back(std::move(both));
}

// The first expert's matrices as a network of the layer, and no others.
void make_dense(EditedTensors& tensors, int32_t layer) {
  take(tensors, tensor_name("ffn_gate_inp.weight", layer));
  for (const std::string name : {"ffn_gate", "ffn_up", "ffn_down"}) {
    EditedTensor experts = take(tensors, tensor_name(name + "_exps.weight", layer));
    const auto count = static_cast<size_t>(experts.plan.shape[0]);
    experts.plan.name = tensor_name(name + ".weight", layer);
    experts.plan.shape.erase(experts.plan.shape.begin());
    experts.bytes.resize(experts.bytes.size() / count);
    tensors.push_back(std::move(experts));
  }
}

std::vector<TokenId> some_tokens() {
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < 40; ++i) tokens.push_back(i * 7 % 64);
  return tokens;
}

std::vector<float> logits_of(const RandomModelShape& shape, const Edit& edit, int32_t rows) {
  const auto file = edited(shape, edit).value();
  const auto checkpoint = Checkpoint::parse(file).value();
  Runner runner(checkpoint, {.activations = ActivationMode::kF32, .pack_cache = {}, .progress = {}},
                2);
  return runner.logits(some_tokens(), 0, {}, [=] { return rows; });
}

TEST(Experts, MatricesMayBeFused) {
  for (const RandomModelShape& shape :
       {mixture(DType::kQ8_0, 96), mixture(DType::kF32, 50), mixture(DType::kMXFP4, 32)}) {
    const Edit fused = {.tensors = [](EditedTensors& tensors) {
      fuse(tensors, 0);
      fuse(tensors, 1);
    }};
    EXPECT_EQ(logits_of(shape, fused, 13), logits_of(shape, {}, 13));
  }
}

TEST(Experts, LayersMayHaveNone) {
  const RandomModelShape shape = mixture(DType::kQ8_0, 96);
  for (const int32_t dense : {0, 1}) {
    const Edit edit = {.tensors = [=](EditedTensors& tensors) { make_dense(tensors, dense); }};
    const auto file = edited(shape, edit).value();
    const auto checkpoint = Checkpoint::parse(file).value();
    const auto spec = read_spec(checkpoint).value();
    const std::vector<double> expected = reference_logits(checkpoint, spec, some_tokens());
    const std::vector<float> actual = logits_of(shape, edit, 40);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 1e-3) << i;
    EXPECT_EQ(logits_of(shape, edit, 1), actual);
  }
}

// Of the first layer.
const MoeSpec& mixture_of(const ModelSpec& spec) {
  return std::get<MoeSpec>(spec.layers[0].stages[1][0].body);
}

absl::StatusOr<ModelSpec> spec_of(const Edit& edit, const char* architecture = "qwen3moe") {
  RandomModelShape shape = mixture(DType::kF32, 96);
  shape.architecture = architecture;
  const auto file = edited(shape, edit).value();
  const auto checkpoint = Checkpoint::parse(file).value();
  return read_spec(checkpoint);
}

TEST(Experts, KeysSayHowTheyAreChosen) {
  using enum ops::Routing::Score;
  const MoeSpec usual = mixture_of(spec_of({}).value());
  EXPECT_EQ(usual.experts, 5);
  EXPECT_EQ(usual.hidden, 96);
  EXPECT_EQ(usual.routing.chosen, 2);
  EXPECT_EQ(usual.routing.score, kSoftmax);
  EXPECT_FALSE(usual.routing.after_choice);
  EXPECT_TRUE(usual.routing.renormalise);
  EXPECT_EQ(usual.routing.scale, 1);
  EXPECT_EQ(usual.routing.groups, 1);
  const Edit edit = both(
      both(set_integer("qwen3moe.expert_gating_func", 2),
           set_boolean("qwen3moe.expert_weights_norm", false)),
      both(set_number("qwen3moe.expert_weights_scale", 2.5), with("blk.0.exp_probs_b.bias", {5})));
  const MoeSpec moe = mixture_of(spec_of(both(edit, with("blk.1.exp_probs_b.bias", {5}))).value());
  EXPECT_EQ(moe.routing.score, kSigmoid);
  EXPECT_FALSE(moe.routing.renormalise);
  EXPECT_EQ(moe.routing.scale, 2.5F);
  EXPECT_TRUE(moe.selection_bias);
  const MoeSpec after = mixture_of(spec_of(set_integer("qwen3moe.expert_gating_func", 3)).value());
  EXPECT_TRUE(after.routing.after_choice);
}

TEST(Experts, WhatCannotBeIsNamed) {
  const struct {
    Edit edit;
    absl::StatusCode code;
    std::string_view message;
  } cases[] = {
      {set_integer("qwen3moe.expert_used_count", 6), absl::StatusCode::kInvalidArgument,
       "qwen3moe.expert_used_count"},
      {set_integer("qwen3moe.expert_used_count", 0), absl::StatusCode::kInvalidArgument,
       "qwen3moe.expert_used_count"},
      {set_integer("qwen3moe.expert_count", 4), absl::StatusCode::kInvalidArgument,
       "tensor 'blk.0.ffn_gate_inp.weight' is 5 x 64, but the metadata asks for 4 x 64"},
      {set_integer("qwen3moe.expert_feed_forward_length", 64), absl::StatusCode::kInvalidArgument,
       "tensor 'blk.0.ffn_gate_exps.weight' is 5 x 96 x 64, but the metadata asks for 5 x 64 x 64"},
      {set_integer("qwen3moe.expert_gating_func", 4), absl::StatusCode::kUnimplemented,
       "this scoring of experts"},
      {set_number("qwen3moe.expert_weights_scale", -1), absl::StatusCode::kInvalidArgument,
       "qwen3moe.expert_weights_scale"},
      {set_integer("qwen3moe.expert_group_count", 2), absl::StatusCode::kInvalidArgument,
       "qwen3moe.expert_group_count"},
      {set_integer("qwen3moe.expert_group_count", 5), absl::StatusCode::kInvalidArgument,
       "qwen3moe.expert_group_count"},
      {set_integer("qwen3moe.interleave_something", 2), absl::StatusCode::kUnimplemented,
       "qwen3moe.interleave_something"},
      {set_integer("qwen3moe.expert_shared_count", 1), absl::StatusCode::kNotFound,
       "tensor 'blk.0.ffn_gate_shexp.weight' is missing"},
      {set_integer("qwen3moe.expert_shared_feed_forward_length", 96), absl::StatusCode::kNotFound,
       "tensor 'blk.0.ffn_gate_shexp.weight' is missing"},
      {without("blk.1.ffn_down_exps.weight"), absl::StatusCode::kNotFound,
       "tensor 'blk.1.ffn_down_exps.weight' is missing"},
      {without("blk.0.ffn_up_exps.weight"), absl::StatusCode::kNotFound,
       "tensor 'blk.0.ffn_up_exps.weight' is missing"},
      {with("blk.1.ffn_up_exps.bias", {5, 96}), absl::StatusCode::kUnimplemented,
       "blk.1.ffn_up_exps.bias"},
  };
  for (const auto& c : cases) {
    const auto spec = spec_of(c.edit);
    ASSERT_FALSE(spec.ok()) << c.message;
    EXPECT_EQ(spec.status().code(), c.code) << spec.status();
    EXPECT_NE(message_of(spec.status()).find(c.message), std::string_view::npos) << spec.status();
  }
}

TEST(Experts, ASparseMixerIsWhatItIs) {
  const MoeSpec moe = mixture_of(spec_of({}, "phimoe").value());
  EXPECT_EQ(moe.routing.score, ops::Routing::Score::kSparsemixer);
  EXPECT_EQ(moe.routing.threshold, 0.02F);
  for (const auto& [edit, message] :
       {std::pair{set_integer("phimoe.expert_used_count", 3), "phimoe.expert_used_count"},
        {both(set_integer("phimoe.expert_count", 6), set_integer("phimoe.expert_group_count", 2)),
         "phimoe.expert_group_count"},
        {with("blk.0.exp_probs_b.bias", {5}), "exp_probs_b.bias"}}) {
    const auto spec = spec_of(edit, "phimoe");
    ASSERT_FALSE(spec.ok()) << message;
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kUnimplemented) << spec.status();
    EXPECT_NE(message_of(spec.status()).find(message), std::string_view::npos) << spec.status();
  }
}

}  // namespace
}  // namespace millrace
