#include "nn/attention/latent.h"

#include <array>
#include <span>
#include <vector>

namespace millrace {
namespace {

Rows<float> columns_of(const Rows<float>& rows, int64_t first, int64_t width) {
  return {rows.data + first, rows.rows, width, rows.stride};
}

}  // namespace

KvShape LatentSpec::kv_shape() const {
  return {.heads = 1, .key_dim = key_dim(), .value_dim = latent_dim, .latent = true};
}

KvSpec LatentSpec::kv(DType cache) const {
  return {.token_bytes = kv_token_bytes(cache, kv_shape()),
          .sequence_bytes = 0,
          .pattern = {},
          .shared = -1};
}

std::unique_ptr<Body> LatentSpec::make(RopeTable& ropes) const {
  return std::make_unique<Latent>(*this, ropes);
}

Latent::Latent(const LatentSpec& spec, RopeTable& ropes) : spec_(spec) {
  if (spec.rope) rope_ = ropes.add(*spec.rope);
}

// What is made of the stream.
absl::Status Latent::load_low(Weights& weights) {
  const bool has_rank = spec_.query_rank > 0;
  const std::array<MatrixOrder, 2> low = {{{"attn_q_a", spec_.query_rank, spec_.width},
                                           {"attn_kv_a_mqa", spec_.key_dim(), spec_.width}}};
  const std::array<VectorOrder, 2> bias = {
      {{"attn_q_a.bias", spec_.query_rank}, {"attn_kv_a_mqa.bias", spec_.key_dim()}}};
  const size_t first = has_rank ? 0 : 1;
  // Rounding errors here reach every later token through the cache.
  RETURN_IF_ERROR(low_.load(
      weights, std::span(low).subspan(first), InputForm::kExact,
      spec_.low_biases ? std::span(bias).subspan(first) : std::span<const VectorOrder>()));
  if (has_rank) {
    ASSIGN_OR_RETURN(query_norm_, load_norm(spec_.query_norm, spec_.query_rank, weights));
  }
  ASSIGN_OR_RETURN(latent_norm_, load_norm(spec_.latent_norm, spec_.latent_dim, weights));
  return absl::OkStatus();
}

absl::Status Latent::load(Weights& weights) {
  RETURN_IF_ERROR(load_low(weights));
  const int64_t heads = spec_.heads;
  const int64_t query_width = spec_.query_rank > 0 ? spec_.query_rank : spec_.width;
  RETURN_IF_ERROR(query_plain_.load(weights, {"attn_q_plain", heads, spec_.plain_dim, query_width},
                                    InputForm::kExact));
  RETURN_IF_ERROR(query_rotated_.load(
      weights, {"attn_q_rotated", heads, spec_.rotated_dim, query_width}, InputForm::kExact));
  RETURN_IF_ERROR(key_.load(weights, {"attn_k_b", heads, spec_.latent_dim, spec_.plain_dim},
                            InputForm::kExact));
  RETURN_IF_ERROR(value_.load(weights, {"attn_v_b", heads, spec_.value_dim, spec_.latent_dim},
                              InputForm::kCompact));
  const MatrixOrder output = {"attn_output", spec_.width, heads * spec_.value_dim};
  const VectorOrder bias = {"attn_output.bias", spec_.width};
  return output_.load(weights, {&output, 1}, InputForm::kCompact,
                      std::span(&bias, spec_.output_bias ? 1 : 0));
}

ActivationForms Latent::query_forms() const {
  ActivationForms forms = query_plain_.input_forms();
  forms |= query_rotated_.input_forms();
  return forms;
}

ActivationForms Latent::input_forms() const {
  ActivationForms forms = low_.input_forms();
  if (spec_.query_rank == 0) forms |= query_forms();
  return forms;
}

Latent::Workspace Latent::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t heads = spec_.heads;
  const int64_t query_rows = spec_.query_rank > 0 ? rows : 0;
  return {.low = layout.rows(rows, spec_.query_rank + spec_.key_dim()),
          .query_in = layout.activations(query_forms(), query_rows, spec_.query_rank),
          .plain = layout.rows(rows, heads * spec_.plain_dim),
          .plain_in = layout.activations(key_.input_forms(), rows, heads * spec_.plain_dim),
          .queries = layout.rows(rows, heads * spec_.key_dim()),
          .mixed = layout.rows(rows, heads * spec_.latent_dim),
          .mixed_in = layout.activations(value_.input_forms(), rows, heads * spec_.latent_dim),
          .values = layout.rows(rows, heads * spec_.value_dim),
          .values_in = layout.activations(output_.input_forms(), rows, heads * spec_.value_dim)};
}

int64_t Latent::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

ops::AttentionShape Latent::shape() const {
  return {.query_heads = spec_.heads, .scale = spec_.scale};
}

KvLayer Latent::cache_of(const KvPlace& place) const {
  return kv_layer(place.dtype, spec_.kv_shape(), place.block_tokens, place.bytes.data,
                  place.bytes.units);
}

int64_t Latent::carried_bytes(const KvPlace& place, int lanes) const {
  return ops::attention_memory_bytes(shape(), cache_of(place), lanes);
}

// A head's query is its plain part in the latent's space and then its rotated part.
void Latent::make_queries(Lane& lane, const BodyContext& context, const Activations& in,
                          const Workspace& work) const {
  const Ops& ops = context.ops;
  const int64_t heads = spec_.heads;
  const int64_t rotated_width = (heads - 1) * spec_.key_dim() + spec_.rotated_dim;
  ops.head_linear(lane, query_plain_.matrices(), in_forms(in, query_plain_.input_forms()), 0,
                  spec_.plain_dim, work.plain);
  ops.head_linear(lane, query_rotated_.matrices(), in_forms(in, query_rotated_.input_forms()), 0,
                  spec_.key_dim(), columns_of(work.queries, spec_.latent_dim, rotated_width));
  ops.barrier(lane);
  ops.convert(lane, work.plain, work.plain_in);
  ops.barrier(lane);
  ops.head_linear(lane, key_.matrices(), work.plain_in, spec_.plain_dim, spec_.key_dim(),
                  work.queries);
  ops.barrier(lane);
}

void Latent::forward(Lane& lane, const BodyContext& context, const Activations& in,
                     ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const ops::AttentionRows& placed = *context.place.rows;
  const KvLayer cache = cache_of(context.place);
  ops::Rotation rotation = {.first = spec_.latent_dim};
  if (rope_ >= 0) {
    const RopeAngles& rope = context.ropes[static_cast<size_t>(rope_)];
    rotation.pairs = rope.pairs;
    rotation.angles = rope.angles;
  }
  const Rows<float> key = columns_of(work.low, spec_.query_rank, spec_.key_dim());

  low_.forward(lane, ops, in, ops::Store::kSet, work.low);
  ops.barrier(lane);
  ops.norm_in_place(lane, columns_of(key, 0, spec_.latent_dim), *latent_norm_);
  if (query_norm_) {
    ops.norm(lane, columns_of(work.low, 0, spec_.query_rank), *query_norm_, work.query_in);
  }
  ops.barrier(lane);
  make_queries(lane, context, query_norm_ ? work.query_in : in, work);
  ops.rope_and_store(lane, placed, rotation, work.queries, key, {nullptr, in.rows, 0, 0}, cache);
  ops.barrier(lane);
  ops.attention(lane, placed, shape(), work.queries, cache, context.carried, work.mixed);
  ops.barrier(lane);
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  ops.head_linear(lane, value_.matrices(), work.mixed_in, spec_.latent_dim, spec_.value_dim,
                  work.values);
  ops.barrier(lane);
  ops.convert(lane, work.values, work.values_in);
  ops.barrier(lane);
  output_.forward(lane, ops, work.values_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
