#include "nn/attention/attention.h"

#include <array>

namespace millrace {

KvSpec kv_spec(const AttentionSpec& spec, DType cache) {
  return {.token_bytes = 2 * row_bytes(cache, spec.kv_width())};
}

KvSpec Attention::kv(DType cache) const { return kv_spec(spec_, cache); }

absl::Status Attention::load(Weights& weights) {
  ASSIGN_OR_RETURN(norm_, weights.vector(Role::kAttentionNorm, spec_.width));
  const std::array<MatrixOrder, 3> qkv = {{{Role::kQuery, spec_.query_width(), spec_.width},
                                           {Role::kKey, spec_.kv_width(), spec_.width},
                                           {Role::kValue, spec_.kv_width(), spec_.width}}};
  const std::array<VectorOrder, 3> bias = {{{Role::kQueryBias, spec_.query_width()},
                                            {Role::kKeyBias, spec_.kv_width()},
                                            {Role::kValueBias, spec_.kv_width()}}};
  std::span<const float> qkv_bias, output_bias;
  if (spec_.biases) {
    ASSIGN_OR_RETURN(qkv_bias, weights.vectors(bias));
  }
  if (spec_.output_bias) {
    ASSIGN_OR_RETURN(output_bias, weights.vector(Role::kAttentionOutputBias, spec_.width));
  }
  if (spec_.head_norms) {
    ASSIGN_OR_RETURN(head_norms_.query.weight, weights.vector(Role::kQueryNorm, spec_.head_dim));
    ASSIGN_OR_RETURN(head_norms_.key.weight, weights.vector(Role::kKeyNorm, spec_.head_dim));
    head_norms_.query.epsilon = head_norms_.key.epsilon = spec_.norm_epsilon;
    head_norms_.place = ops::HeadNorms::Place::kBeforeRotation;
  }
  // Rounding errors here reach every later token through the cache.
  RETURN_IF_ERROR(qkv_.load(weights, qkv, InputForm::kExact, qkv_bias));
  const MatrixOrder output = {Role::kAttentionOutput, spec_.width, spec_.query_width()};
  return output_.load(weights, {&output, 1}, InputForm::kCompact, output_bias);
}

Attention::Workspace Attention::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.normed = layout.activations(qkv_.input_forms(), rows, spec_.width),
          .qkv = layout.rows(rows, spec_.query_width() + 2 * spec_.kv_width()),
          .mixed = layout.rows(rows, spec_.query_width()),
          .mixed_in = layout.activations(output_.input_forms(), rows, spec_.query_width())};
}

int64_t Attention::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

ops::AttentionShape Attention::shape() const {
  return {.query_heads = spec_.heads, .keys_max = spec_.window, .scale = spec_.scale};
}

int64_t Attention::carried_bytes(const KvPlace& place, int lanes) const {
  return ops::attention_memory_bytes(shape(), *place.cache, lanes);
}

void Attention::forward(Lane& lane, const ForwardContext& context) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, context.residual.rows);
  const auto columns = [&](int64_t first, int64_t width) {
    return Rows<float>{work.qkv.data + first, work.qkv.rows, width, work.qkv.stride};
  };
  const Rows<float> queries = columns(0, spec_.query_width());
  const Rows<float> keys = columns(spec_.query_width(), spec_.kv_width());
  const Rows<float> values = columns(spec_.query_width() + spec_.kv_width(), spec_.kv_width());
  const auto& [placed_rows, cache] = context.place;

  context.ops.norm(lane, context.residual, {.weight = norm_, .epsilon = spec_.norm_epsilon},
                   work.normed);
  context.ops.barrier(lane);
  qkv_.forward(lane, context.ops, work.normed, ops::Store::kSet, work.qkv);
  context.ops.barrier(lane);
  context.ops.rope_and_store(
      lane, *placed_rows,
      {.pairs = context.rope_pairs, .angles = context.rope_angles, .norms = head_norms_}, queries,
      keys, values, *cache);
  context.ops.barrier(lane);
  context.ops.attention(lane, *placed_rows, shape(), queries, *cache, context.carried, work.mixed);
  context.ops.barrier(lane);
  context.ops.convert(lane, work.mixed, work.mixed_in);
  context.ops.barrier(lane);
  output_.forward(lane, context.ops, work.mixed_in, ops::Store::kAdd, context.residual);
  context.ops.barrier(lane);
}

}  // namespace millrace
