#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/spec.h"
#include "tests/fixtures/models/edited_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

RandomModelShape gemma3n_shape() { return {.architecture = "gemma3n", .layers = 5, .window = 12}; }

absl::StatusOr<ModelSpec> gemma3n_with(const Edit& edit) {
  ASSIGN_OR_RETURN(const auto file, edited(gemma3n_shape(), edit));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::parse(file));
  return read_spec(checkpoint);
}

Edit set_deviations(std::vector<double> values) {
  return {
      .metadata = [=](Metadata& m) { m.set_numbers("gemma3n.activation_sparsity_scale", values); }};
}

TEST(Gemma3n, IsStagesOfTheActiveStreamAndOneThatSpreads) {
  const double none = -std::numeric_limits<double>::infinity();
  const auto spec = gemma3n_with(set_deviations({none, 1.5, 0, none, none}));
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_TRUE(spec->altup);
  EXPECT_EQ(spec->altup->streams, 3);
  EXPECT_EQ(spec->altup->active, 1);
  EXPECT_EQ(spec->logit_softcap, 30) << "of files that do not say it";
  const std::vector<bool> sparse = {false, true, true, false, false};
  // Of layers with a window and without: 0 and 1 keep theirs, of which bodies 0 and 4 are.
  const std::vector<int32_t> shared = {-1, -1, 0, 4, 0};
  for (size_t i = 0; i < spec->layers.size(); ++i) {
    const std::vector<StageSpec>& stages = spec->layers[i].stages;
    ASSERT_EQ(stages.size(), 3U);
    ASSERT_EQ(stages[0].size(), 2U);
    const auto& attention = std::get<AttentionSpec>(stages[0][0].body);
    EXPECT_EQ(attention.shared, shared[i]);
    EXPECT_EQ(attention.scale, 1);
    EXPECT_EQ(attention.window, i % 2 == 0 ? 12 : 0);
    EXPECT_EQ(std::get<LaurelSpec>(stages[0][1].body).rank, 32);
    EXPECT_EQ(std::holds_alternative<SparseFfnSpec>(stages[1][0].body), sparse[i]);
    EXPECT_EQ(std::get<LayerInputSpec>(stages[2][0].body).layer, static_cast<int64_t>(i));
    EXPECT_EQ(stages[2][0].kept.factor, 0);
    EXPECT_FLOAT_EQ(stages[0][0].kept.factor, 0.70710678F);
    EXPECT_FLOAT_EQ(stages[0][1].scale, 0.70710678F);
  }
}

TEST(Gemma3n, ALieIsRefusedByItsKeyOrTensor) {
  const struct {
    Edit edit;
    std::string_view message;
  } cases[] = {
      {set_integer("gemma3n.altup.num_inputs", 1), "'gemma3n.altup.num_inputs'"},
      {set_integer("gemma3n.altup.num_inputs", ops::kStreamsMax + 1), "'gemma3n.altup.num_inputs'"},
      {set_integer("gemma3n.altup.num_inputs", 4), "tensor 'altup_proj.weight' is 2 x 64 x 64"},
      {set_integer("gemma3n.altup.active_idx", 3), "'gemma3n.altup.active_idx'"},
      {set_integer("gemma3n.embedding_length_per_layer_input", 0),
       "'gemma3n.embedding_length_per_layer_input'"},
      {set_integer("gemma3n.attention.shared_kv_layers", 5),
       "'gemma3n.attention.shared_kv_layers'"},
      {set_integer("gemma3n.attention.shared_kv_layers", 4),
       "layer 1 reads the keys and values of an earlier layer with no window, but there is none"},
      {set_deviations({0, 0}), "'gemma3n.activation_sparsity_scale' has 2 values, but must have 5"},
      {set_deviations({0, 0, NAN, 0, 0}), "is nan for layer 2, but must be finite or -inf"},
      {set_deviations({0, INFINITY, 0, 0, 0}), "is inf for layer 1"},
      {with("blk.0.ffn_up.bias", {96}), "biases"},
      {without("blk.0.laurel_l.weight"), "tensor 'blk.0.laurel_l.weight' is missing"},
      {without("blk.3.altup_router.weight"), "tensor 'blk.3.altup_router.weight' is missing"},
      {with("blk.2.altup_predict_coef.weight", {9, 2}), "'blk.2.altup_predict_coef.weight' is 9 x"},
      {with("blk.2.laurel_l.weight", {16, 64}), "'blk.2.laurel_l.weight' is 16 x 64"},
  };
  for (const auto& c : cases) {
    const auto file = edited(gemma3n_shape(), c.edit);
    ASSERT_TRUE(file.ok()) << file.status();
    const absl::Status status = read_spec(Checkpoint::parse(*file).value()).status();
    EXPECT_FALSE(status.ok()) << c.message;
    EXPECT_THAT(std::string(message_of(status)), HasSubstr(std::string(c.message)));
  }
}

}  // namespace
}  // namespace millrace
