#include "nn/recurrent/linear_attention.h"

#include <vector>

#include "models/arch/arch.h"
#include "models/arch/attention_keys.h"
#include "models/arch/known/recurrent/recurrent_keys.h"

namespace millrace {
namespace {

absl::StatusOr<LayerParts> qwen3_next_parts(ArchReader& keys, const ModelSpec& model,
                                            int64_t layer) {
  ASSIGN_OR_RETURN(const bool recurrent, is_recurrent(keys, layer, 4));
  if (!recurrent) return LayerParts{};
  ASSIGN_OR_RETURN(const DeltaNetSpec net, read_delta_net(keys, model));
  return LayerParts{.attention = false, .mixers = {net}};
}

absl::StatusOr<LayerParts> qwen35_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  keys.pass_over("rope.dimension_sections");  // of text all turn alike
  ASSIGN_OR_RETURN(const bool recurrent, is_recurrent(keys, layer, 4));
  if (!recurrent) return LayerParts{};
  ASSIGN_OR_RETURN(DeltaNetSpec net, read_delta_net(keys, model));
  net.tensors = DeltaNetSpec::Tensors::kApart;
  net.heads_in_turn = true;
  return LayerParts{.attention = false, .mixers = {net}};
}

absl::StatusOr<LayerParts> minimax_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  ASSIGN_OR_RETURN(const bool recurrent, is_recurrent(keys, layer, 8));
  ASSIGN_OR_RETURN(const double epsilon, keys.positive_or("attention.group_norm_epsilon",
                                                          double{model.output_norm.epsilon}));
  if (!recurrent) return LayerParts{};
  ASSIGN_OR_RETURN(const int64_t layers, keys.layer_count());
  AttentionSpec heads = {.width = model.width};
  ASSIGN_OR_RETURN(heads, with_heads_of(keys, layer, heads));
  const LinearAttentionSpec lightning = {.width = model.width,
                                         .heads = heads.heads,
                                         .key_dim = heads.head_dim,
                                         .value_dim = heads.head_dim,
                                         .joined = true,
                                         .feature = LinearAttentionSpec::Feature::kSilu,
                                         .decays = lightning_decays(heads.heads, layer, layers),
                                         .norm = {.kind = NormSpec::Kind::kRms,
                                                  .name = "attn_norm_2",
                                                  .epsilon = static_cast<float>(epsilon)},
                                         .gate = LinearAttentionSpec::Gate::kSigmoid};
  return LayerParts{.attention = false, .mixers = {lightning}};
}

// Behind each body the stream is alpha times its norm, plus beta times the body's output.
absl::Status adjust_minimax(ArchReader& keys, ModelSpec& model) {
  constexpr std::string_view kFactors = "residual_factors";
  ASSIGN_OR_RETURN(const double alpha, keys.number_or("residual_scale", 1));
  std::vector<double> factors = {alpha, alpha, alpha, 1, 1, 1};  // attention, linear, networks
  if (keys.has(kFactors)) {
    ASSIGN_OR_RETURN(factors, keys.numbers(kFactors, std::ssize(factors)));
  }
  for (LayerSpec& layer : model.layers) {
    for (StageSpec& stage : layer.stages) {
      BranchSpec& branch = stage[0];
      const size_t kind = std::holds_alternative<AttentionSpec>(branch.body)         ? 0
                          : std::holds_alternative<LinearAttentionSpec>(branch.body) ? 1
                                                                                     : 2;
      branch.kept = {.factor = static_cast<float>(factors[kind]), .normed = true};
      branch.scale = static_cast<float>(factors[kind + 3]);
    }
  }
  return absl::OkStatus();
}

}  // namespace

// Layers of linear attention but for every n-th, which reads the whole context: Qwen3-Next and
// Qwen 3.5 (Qwen Team 2025) with gated delta nets and gates on attention, MiniMax-Text-01 (Li et
// al. 2025) with lightning attention and a stream that is normed in each stage.
std::span<const Arch> known_linear_attention_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "qwen3next",
       .models = "Qwen3-Next",
       .traits = {.gated_queries = true,
                  .moe = MoeTraits{},
                  .ffn_norm = "post_attention_norm",
                  .parts = qwen3_next_parts},
       .adjust = drop_predictors},
      {.name = "qwen35",
       .models = "Qwen 3.5 (text)",
       .traits = {.gated_queries = true, .ffn_norm = "post_attention_norm", .parts = qwen35_parts},
       .adjust = drop_predictors},
      {.name = "qwen35moe",
       .models = "Qwen 3.5 MoE (text)",
       .traits = {.gated_queries = true,
                  .moe = MoeTraits{},
                  .ffn_norm = "post_attention_norm",
                  .parts = qwen35_parts},
       .adjust = drop_predictors},
      {.name = "minimax-01",
       .models = "MiniMax-Text-01, M1",
       .traits = {.moe = MoeTraits{}, .parts = minimax_parts},
       .adjust = adjust_minimax},
  };
  return kArchs;
}

}  // namespace millrace
