#include "nn/recurrent/linear_attention.h"

#include <cmath>

#include "nn/recurrent/state_spec.h"

namespace millrace {

std::vector<float> lightning_decays(int64_t heads, int64_t layer, int64_t layers) {
  const double deep = static_cast<double>(layer) / (static_cast<double>(layers - 1) + 1e-5);
  std::vector<float> decays;
  for (int64_t head = 0; head < heads; ++head) {
    const double slope =
        std::exp2(-8.0 * static_cast<double>(head + 1) / static_cast<double>(heads));
    decays.push_back(static_cast<float>(std::exp(-slope * (1 - deep + 1e-5))));
  }
  return decays;
}

std::vector<float> retention_decays(int64_t heads) {
  std::vector<float> decays;
  for (int64_t head = 0; head < heads; ++head) {
    decays.push_back(static_cast<float>(1 - std::exp2(-5.0 - static_cast<double>(head))));
  }
  return decays;
}

// base^(-i / (pairs - 1)) = b^(-i / pairs) with b = base^(pairs / (pairs - 1)).
RopeSpec retention_rope(int32_t key_dim, double base) {
  const double pairs = key_dim / 2;
  RopeSpec rope;
  rope.rotated = key_dim;
  rope.base = pairs > 1 ? std::pow(base, pairs / (pairs - 1)) : base;
  return rope;
}

int64_t LinearAttentionSpec::sums_state() const {
  switch (normaliser) {
    case Normaliser::kNone:
      return 0;
    case Normaliser::kKeys:
      return state_part(heads * key_dim);
    case Normaliser::kRootOfDecays:
      return state_part(heads);
  }
  return 0;
}

KvSpec LinearAttentionSpec::kv(DType) const {
  return state_of(state_part(heads * key_dim * value_dim) + sums_state());
}

std::unique_ptr<Body> LinearAttentionSpec::make(RopeTable& ropes) const {
  return std::make_unique<LinearAttention>(*this, ropes);
}

LinearAttention::LinearAttention(const LinearAttentionSpec& spec, RopeTable& ropes)
    : spec_(spec), ones_(static_cast<size_t>(spec.heads), 1) {
  if (spec.rope) rope_ = ropes.add(*spec.rope);
}

absl::Status LinearAttention::load(Weights& weights) {
  RETURN_IF_ERROR(check_state_rows(spec_.key_dim));
  const int64_t width = spec_.width;
  GateRows gates;
  std::vector<MatrixOrder> orders = {{"attn_q", spec_.keys_width(), width},
                                     {"attn_k", spec_.keys_width(), width},
                                     {"attn_v", spec_.values_width(), width}};
  if (spec_.joined) orders = {{"attn_qkv", qkv_width(), width}};
  if (spec_.gate != LinearAttentionSpec::Gate::kNone) {
    orders.push_back({"attn_gate", spec_.values_width(), width});
    gates = {qkv_width(), spec_.values_width()};
  }
  RETURN_IF_ERROR(in_.load(weights, orders, InputForm::kExact, {}, gates));
  if (spec_.norm) {
    const int64_t normed = spec_.norm_heads ? spec_.value_dim : spec_.values_width();
    ASSIGN_OR_RETURN(norm_, load_norm(spec_.norm, normed, weights));
  }
  return out_.load(weights, {"attn_output", width, spec_.values_width()}, InputForm::kCompact);
}

LinearAttention::Workspace LinearAttention::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t values = spec_.values_width();
  const int64_t gates = spec_.gate == LinearAttentionSpec::Gate::kNone ? 0 : values;
  return {.in = layout.rows(rows, qkv_width() + gates),
          .sums = layout.rows(rows, spec_.sums_state() > 0 ? spec_.heads : 0),
          .mixed = layout.rows(rows, values),
          .mixed_in = layout.activations(out_.input_forms(), rows, values)};
}

int64_t LinearAttention::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void LinearAttention::apply_feature(Lane& lane, const BodyContext& context, Rows<float> in) const {
  const Ops& ops = context.ops;
  if (spec_.feature == LinearAttentionSpec::Feature::kSilu) {
    const Rows<float> qkv = columns(in, 0, qkv_width());
    ops.gate(lane, {}, ops::kSiluOfElements, qkv, qkv);
    ops.barrier(lane);
  }
  const Rows<float> keys = columns(in, 0, 2 * spec_.keys_width());
  if (spec_.feature == LinearAttentionSpec::Feature::kEluPlusOne) {
    ops.gate(lane, {}, {.kind = ops::ElementFunction::Kind::kEluPlusOne}, keys, keys);
    ops.barrier(lane);
  }
  if (rope_ >= 0) {
    const RopeAngles& rope = context.ropes[static_cast<size_t>(rope_)];
    ops.rotate(lane, {.pairs = rope.pairs, .angles = rope.angles}, spec_.key_dim, keys);
    ops.barrier(lane);
  }
}

void LinearAttention::scan(Lane& lane, const BodyContext& context, const Workspace& work) const {
  const int64_t keys = spec_.keys_width();
  const int64_t first_key = spec_.joined ? spec_.key_dim : keys;
  const ops::MatrixScan scan = {.rule = ops::MatrixScan::Rule::kAdd,
                                .heads = spec_.heads,
                                .key_heads = spec_.heads,
                                .key_dim = spec_.key_dim,
                                .value_dim = spec_.value_dim,
                                .key_step = spec_.joined ? 3 * spec_.key_dim : 0,
                                .value_step = spec_.joined ? 3 * spec_.value_dim : 0,
                                .scale = spec_.scale};
  const ops::MatrixScanRows rows = {.queries = columns(work.in, 0, keys),
                                    .keys = columns(work.in, first_key, keys),
                                    .values = columns(work.in, 2 * first_key, spec_.values_width()),
                                    .decays = {spec_.decays.data(), work.in.rows, spec_.heads, 0}};
  context.ops.matrix_scan(lane, *context.place.states, context.place.state_layer(), scan, rows,
                          work.mixed);
  if (spec_.normaliser != LinearAttentionSpec::Normaliser::kNone) {
    normalise(lane, context, scan, rows, work);
  }
}

// The sums are one more state, of values that are all 1; for those of decays keys are 1 too.
void LinearAttention::normalise(Lane& lane, const BodyContext& context, const ops::MatrixScan& scan,
                                const ops::MatrixScanRows& rows, const Workspace& work) const {
  const bool of_keys = spec_.normaliser == LinearAttentionSpec::Normaliser::kKeys;
  const Rows<const float> ones = {ones_.data(), work.in.rows, spec_.heads, 0};
  const ops::MatrixScan sum = {.rule = ops::MatrixScan::Rule::kAdd,
                               .heads = spec_.heads,
                               .key_heads = spec_.heads,
                               .key_dim = of_keys ? spec_.key_dim : 1,
                               .value_dim = 1,
                               .key_step = of_keys ? scan.key_step : 0};
  context.ops.matrix_scan(lane, *context.place.states,
                          context.place.state_layer().from(state_part(scan.state_floats())), sum,
                          {.queries = of_keys ? rows.queries : ones,
                           .keys = of_keys ? rows.keys : ones,
                           .values = ones,
                           .decays = rows.decays},
                          work.sums);
  context.ops.barrier(lane);
  using Kind = ops::ElementFunction::Kind;
  context.ops.gate(lane, work.mixed, {.kind = of_keys ? Kind::kReciprocal : Kind::kReciprocalRoot},
                   work.sums, work.mixed);
}

void LinearAttention::forward(Lane& lane, const BodyContext& context, const Activations& in,
                              ops::Store store, Rows<float> out) const {
  using Gate = LinearAttentionSpec::Gate;
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;

  in_.forward(lane, ops, in, ops::Store::kSet, work.in);
  ops.barrier(lane);
  apply_feature(lane, context, work.in);
  scan(lane, context, work);
  ops.barrier(lane);
  if (norm_) {
    ops.norm_heads(lane, work.mixed, spec_.norm_heads ? spec_.heads : 1, *norm_);
    ops.barrier(lane);
  }
  if (spec_.gate != Gate::kNone) {
    const ops::ElementFunction sigmoid = {.kind = ops::ElementFunction::Kind::kSigmoid};
    ops.gate(lane, work.mixed, spec_.gate == Gate::kSilu ? ops::kSiluOfElements : sigmoid,
             columns(work.in, qkv_width(), spec_.values_width()), work.mixed);
    ops.barrier(lane);
  }
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  out_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
