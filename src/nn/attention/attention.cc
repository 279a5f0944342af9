#include "nn/attention/attention.h"

#include <array>
#include <bit>
#include <cmath>

namespace millrace {
namespace {

// ALiBi's slopes (Press et al. 2022, section 3), and those that its authors' code gives to numbers
// of heads that are no power of two: of the next lower power, then every other one of the next.
std::vector<float> alibi_slopes(int32_t heads, double bias_max) {
  const auto power = std::bit_floor(static_cast<uint32_t>(heads));
  std::vector<float> slopes;
  for (uint32_t i = 0; i < static_cast<uint32_t>(heads); ++i) {
    const double exponent = i < power ? (i + 1.0) / power : (2.0 * (i - power) + 1) / (2.0 * power);
    slopes.push_back(static_cast<float>(std::exp2(-bias_max * exponent)));
  }
  return slopes;
}

}  // namespace

KvSpec AttentionSpec::kv(DType cache) const {
  return {.token_bytes = kv_token_bytes(cache, kv_shape()),
          .sequence_bytes = 0,
          .pattern = {.window = window, .chunk = chunk},
          .shared = shared};
}

std::unique_ptr<Body> AttentionSpec::make(RopeTable& ropes) const {
  return std::make_unique<Attention>(*this, ropes);
}

Attention::Attention(const AttentionSpec& spec, RopeTable& ropes) : spec_(spec) {
  if (spec.rope) rope_ = ropes.add(*spec.rope);
  if (spec.alibi_bias_max > 0) {
    slopes_ = alibi_slopes(spec.heads, double{spec.alibi_bias_max});
  }
}

absl::Status Attention::load_norms(Weights& weights) {
  const auto& [query, key, scope, after_rotation] = spec_.norms;
  if (spec_.value_norm) {
    ASSIGN_OR_RETURN(head_norms_.value, load_norm(spec_.value_norm, spec_.head_dim, weights));
  }
  if (!query) return absl::OkStatus();
  if (scope == QueryKeyNormSpec::Scope::kAllHeads) {
    ASSIGN_OR_RETURN(query_norm_, load_norm(query, spec_.query_width(), weights));
    if (spec_.keeps()) {
      ASSIGN_OR_RETURN(key_norm_, load_norm(key, spec_.kv_width(), weights));
    }
    return absl::OkStatus();
  }
  const bool each = scope == QueryKeyNormSpec::Scope::kEachHead;
  const int64_t query_norms = each ? spec_.heads : 1;
  const int64_t key_norms = each ? spec_.kv_heads : 1;
  ASSIGN_OR_RETURN(head_norms_.query, load_norm(query, spec_.head_dim, weights, query_norms));
  if (spec_.keeps()) {
    ASSIGN_OR_RETURN(head_norms_.key, load_norm(key, spec_.head_dim, weights, key_norms));
  }
  head_norms_.place = after_rotation ? ops::HeadNorms::Place::kAfterRotation
                                     : ops::HeadNorms::Place::kBeforeRotation;
  return absl::OkStatus();
}

int64_t Attention::product_width() const {
  return spec_.gate == AttentionSpec::Gate::kElements ? 2 * spec_.query_width()
                                                      : spec_.query_width();
}

ActivationForms Attention::input_forms() const {
  ActivationForms forms = qkv_.input_forms();
  forms |= gate_.input_forms();
  return forms;
}

absl::Status Attention::load_gate(Weights& weights) {
  for (int32_t head = 0; head < spec_.heads; ++head) {
    for (int32_t i = 0; i < spec_.head_dim; ++i) {
      if (spec_.gate == AttentionSpec::Gate::kHeads) {
        gate_columns_.push_back(head);
      } else {
        query_columns_.push_back(2 * head * spec_.head_dim + i);
        gate_columns_.push_back((2 * head + 1) * spec_.head_dim + i);
      }
    }
  }
  if (spec_.gate != AttentionSpec::Gate::kHeads) return absl::OkStatus();
  return gate_.load(weights, {"attn_gate", spec_.heads, spec_.width}, InputForm::kExact);
}

absl::Status Attention::load(Weights& weights) {
  const std::array<MatrixOrder, 3> qkv = {{{"attn_q", product_width(), spec_.width},
                                           {"attn_k", spec_.kv_width(), spec_.width},
                                           {"attn_v", spec_.kv_width(), spec_.width}}};
  const std::array<VectorOrder, 3> qkv_bias = {{{"attn_q.bias", product_width()},
                                                {"attn_k.bias", spec_.kv_width()},
                                                {"attn_v.bias", spec_.kv_width()}}};
  const VectorOrder output_bias = {"attn_output.bias", spec_.width};
  // Rounding errors here reach every later token through the cache.
  const size_t parts = !spec_.keeps() ? 1 : spec_.values_are_keys ? 2 : 3;
  RETURN_IF_ERROR(qkv_.load(weights, std::span(qkv).first(parts), InputForm::kExact,
                            std::span(qkv_bias).first(spec_.biases ? parts : 0)));
  RETURN_IF_ERROR(load_norms(weights));
  if (spec_.gate != AttentionSpec::Gate::kNone) RETURN_IF_ERROR(load_gate(weights));
  if (spec_.output_norm) {
    ASSIGN_OR_RETURN(output_norm_, load_norm(spec_.output_norm, spec_.query_width(), weights));
  }
  if (spec_.sinks) {
    ASSIGN_OR_RETURN(sinks_, weights.vector({"attn_sinks.weight", spec_.heads}));
  }
  const MatrixOrder output = {"attn_output", spec_.width, spec_.query_width()};
  return output_.load(weights, {&output, 1}, InputForm::kCompact,
                      std::span(&output_bias, spec_.output_bias ? 1 : 0));
}

Attention::Workspace Attention::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const bool has_gates = spec_.gate != AttentionSpec::Gate::kNone;
  const bool of_heads = spec_.gate == AttentionSpec::Gate::kHeads;
  const int64_t queries = has_gates && !of_heads ? spec_.query_width() : 0;
  return {.qkv = layout.rows(rows, product_width() + spec_.key_columns() + spec_.value_columns()),
          .queries = layout.rows(rows, queries),
          .head_gates = layout.rows(rows, of_heads ? spec_.heads : 0),
          .gates = layout.rows(rows, has_gates ? spec_.query_width() : 0),
          .mixed = layout.rows(rows, spec_.query_width()),
          .mixed_in = layout.activations(output_.input_forms(), rows, spec_.query_width())};
}

int64_t Attention::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

ops::AttentionShape Attention::shape() const {
  return {.query_heads = spec_.heads,
          .keys_max = spec_.window > 0 ? spec_.window : spec_.chunk,
          .scale = spec_.scale,
          .softcap = spec_.softcap,
          .sinks = sinks_,
          .slopes = slopes_};
}

ops::Rotation Attention::rotation(const BodyContext& context) const {
  ops::Rotation rotation = {.norms = head_norms_,
                            .temperature = spec_.temperature,
                            .temperature_length = spec_.temperature_length,
                            .temperature_offset = spec_.temperature_offset};
  if (rope_ >= 0) {
    const RopeAngles& rope = context.ropes[static_cast<size_t>(rope_)];
    rotation.pairs = rope.pairs;
    rotation.angles = rope.angles;
  }
  return rotation;
}

KvLayer Attention::cache_of(const KvPlace& place) const {
  return kv_layer(place.dtype, spec_.kv_shape(), place.block_tokens, place.bytes.data,
                  place.bytes.units);
}

void Attention::spread(Lane& lane, const Ops& ops, const Workspace& work) const {
  if (spec_.gate == AttentionSpec::Gate::kHeads) {
    ops.gather_columns(lane, work.head_gates, gate_columns_, work.gates);
  } else {
    ops.gather_columns(lane, work.qkv, query_columns_, work.queries);
    ops.gather_columns(lane, work.qkv, gate_columns_, work.gates);
  }
  ops.barrier(lane);
}

int64_t Attention::carried_bytes(const KvPlace& place, int lanes) const {
  return ops::attention_memory_bytes(shape(), cache_of(place), lanes);
}

void Attention::forward(Lane& lane, const BodyContext& context, const Activations& in,
                        ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const auto columns = [&](int64_t first, int64_t width) {
    return Rows<float>{work.qkv.data + first, work.qkv.rows, width, work.qkv.stride};
  };
  const bool has_gates = spec_.gate != AttentionSpec::Gate::kNone;
  const Rows<float> queries =
      work.queries.width > 0 ? work.queries : columns(0, spec_.query_width());
  const Rows<float> keys = columns(product_width(), spec_.key_columns());
  const Rows<float> values =
      spec_.values_are_keys ? keys
                            : columns(product_width() + spec_.key_columns(), spec_.value_columns());
  const ops::AttentionRows& placed = *context.place.rows;
  const KvLayer cache = cache_of(context.place);
  const Ops& ops = context.ops;

  qkv_.forward(lane, ops, in, ops::Store::kSet, work.qkv);
  if (work.head_gates.width > 0) {
    gate_.forward(lane, ops, in, ops::Store::kSet, work.head_gates);
  }
  ops.barrier(lane);
  if (has_gates) spread(lane, ops, work);
  if (query_norm_) {
    ops.norm_in_place(lane, queries, *query_norm_);
    if (key_norm_) ops.norm_in_place(lane, keys, *key_norm_);
    ops.barrier(lane);
  }
  ops.rope_and_store(lane, placed, rotation(context), queries, keys, values, cache);
  ops.barrier(lane);
  ops.attention(lane, placed, shape(), queries, cache, context.carried, work.mixed);
  ops.barrier(lane);
  if (has_gates) {
    ops.gate(lane, work.mixed, {.kind = ops::ElementFunction::Kind::kSigmoid}, work.gates,
             work.mixed);
    ops.barrier(lane);
  }
  if (output_norm_) {
    ops.norm(lane, work.mixed, *output_norm_, work.mixed_in);
  } else {
    ops.convert(lane, work.mixed, work.mixed_in);
  }
  ops.barrier(lane);
  output_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
