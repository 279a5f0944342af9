#include "models/arch/unread_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

TEST(UnreadKeys, AreRefusedByName) {
  const Edit yarn = both(set_string("llama.rope.scaling.type", "yarn"),
                         set_number("llama.rope.scaling.factor", 4));
  const struct {
    Edit edit;
    std::string_view message;
  } cases[] = {
      {set_number("llama.attention.clamp_kqv", 8), "clamping of queries, keys and values"},
      {set_boolean("llama.attention.causal", false), "attention that is not causal"},
      {set_integer("llama.expert_used_count", 2), "mixtures of experts"},
      {set_integer("llama.expert_group_count", 2), "mixtures of experts"},
      {set_integer("llama.ssm.state_size", 16), "state-space layers"},
      {set_integer("llama.decoder_start_token_id", 0), "encoders with decoders"},
      {set_integer("llama.pooling_type", 3), "an embedding model"},
      {set_boolean("llama.use_parallel_residual", true), "side by side"},
      {set_integer("llama.attention.sliding_window", 8), ""},
      {both(set_integer("llama.attention.sliding_window", 8),
            set_integer("llama.attention.sliding_window_pattern", 2)),
       ""},
      {both(yarn, set_number("llama.rope.scaling.yarn_log_multiplier", 0.1)), ""},
      {set_number("llama.rope.scaling.yarn_log_multiplier", 0.1), "YaRN's multiplier"},
      {set_string("llama.tensor_data_layout", "reference"), "only 'Meta AI original pth'"},
      {set_integer("llama.attention.group_norm_groups", 4), "group norms"},
      {set_string("llama.rope.scaling.type", "longrope"), "rope scaling 'longrope'"},
      {set_number("llama.rope.scaling.yarn_ext_factor", 1), "YaRN"},
      {set_number("llama.rope.scaling.attn_factor", 1.5), "scaling of attention"},
      {both(yarn, set_number("llama.rope.scaling.yarn_ext_factor", 0)), "only 1 is supported"},
      {set_array("llama.rope.dimension_sections", {8, 8}), "rope of several dimensions"},
      {set_string("llama.something.new", "x"),
       "key 'llama.something.new' is 'x': Millrace does not know it"},
  };
  for (const auto& c : cases) {
    const absl::Status status = load_edited({}, c.edit).status();
    if (c.message.empty()) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << c.message << status;
    EXPECT_THAT(message_of(status), HasSubstr(std::string(c.message)));
    EXPECT_THAT(message_of(status), HasSubstr("'llama."));
  }
}

TEST(UnreadKeys, ThatAskForNothingAreHarmless) {
  const Edit yarn = both(set_string("llama.rope.scaling.type", "yarn"),
                         set_number("llama.rope.scaling.factor", 4));
  const Edit cases[] = {
      set_number("llama.attn_logit_softcapping", 0),
      set_integer("llama.expert_feed_forward_length", 0),
      set_number("llama.expert_weights_scale", 0),
      set_integer("llama.ssm.inner_size", 0),
      set_integer("llama.convnext.block_count", 0),
      set_integer("llama.wkv.head_size", 0),
      set_integer("llama.time_mix_extra_dim", 0),
      set_integer("llama.attention.relative_buckets_count", 0),
      set_integer("llama.decoder_start_token_id", 0xFFFFFFFF),
      set_number("llama.final_logit_softcapping", 0),
      set_number("llama.attention.clamp_kqv", 0),
      set_number("llama.attention.max_alibi_bias", 0),
      set_boolean("llama.attention.causal", true),
      set_number("llama.attention.scale", 0),
      set_number("llama.logit_scale", 1),
      set_number("llama.residual_scale", 1),
      set_integer("llama.expert_count", 0),
      set_integer("llama.expert_used_count", 0),
      set_integer("llama.pooling_type", 0),
      set_boolean("llama.use_parallel_residual", false),
      set_integer("llama.vocab_size", 64),
      set_integer("llama.attention.sliding_window", 256),
      set_integer("llama.rope.scaling.original_context_length", 128),
      set_boolean("llama.rope.scaling.finetuned", true),
      set_string("llama.rope.scaling.type", "none"),
      set_number("llama.rope.scaling.factor", 0),
      set_number("llama.rope.scale_linear", 1),
      set_number("llama.rope.scaling.attn_factor", 1),
      set_string("llama.tensor_data_layout", "Meta AI original pth"),
      both(yarn, set_number("llama.rope.scaling.yarn_ext_factor", 1)),
      both(yarn, set_number("llama.rope.scaling.yarn_attn_factor", 1)),
      set_number("qwen2.attention.clamp_kqv", 8),  // of another architecture
      set_string("general.something.new", "x"),
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(load_edited({}, cases[i]).status(), absl::OkStatus()) << i;
  }
}

TEST(Numbers, BeyondFloat32AreRefused) {
  const Edit cases[] = {
      set_number("llama.attention.layer_norm_rms_epsilon", 1e300),
      set_number("llama.attention.layer_norm_rms_epsilon", 1e-300),
      set_number("llama.attention.scale", 1e300),
      set_number("llama.rope.scaling.factor", 1e300),
  };
  for (const Edit& edit : cases) {
    const absl::Status status = load_edited({}, edit).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(message_of(status), HasSubstr("key 'llama."));
  }
}

}  // namespace
}  // namespace millrace
