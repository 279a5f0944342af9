#include "nn/recurrent/mamba2.h"

#include "nn/recurrent/state_spec.h"

namespace millrace {
namespace {

int64_t mamba2_conv_state(const Mamba2Spec& spec) {
  return state_part((spec.conv_kernel - 1) * spec.conv_channels());
}

}  // namespace

KvSpec Mamba2Spec::kv(DType) const {
  return state_of(mamba2_conv_state(*this) + state_part(state_dim * inner));
}

std::unique_ptr<Body> Mamba2Spec::make(RopeTable&) const { return std::make_unique<Mamba2>(*this); }

absl::Status Mamba2::load(Weights& weights) {
  RETURN_IF_ERROR(check_state_rows(spec_.state_dim));
  const auto& [width, inner, heads] = std::tuple(spec_.width, spec_.inner, spec_.heads);
  const int64_t channels = spec_.conv_channels();
  const MatrixOrder in = {"ssm_in", inner + channels + heads, width};
  const MatrixOrder out = {"ssm_out", width, inner};
  const VectorOrder in_bias = {"ssm_in.bias", in.rows};
  const VectorOrder out_bias = {"ssm_out.bias", width};
  const VectorOrder conv = {"ssm_conv1d.weight", spec_.conv_kernel, channels};
  const VectorOrder conv_bias = {"ssm_conv1d.bias", channels};
  RETURN_IF_ERROR(in_.load(weights, {&in, 1}, InputForm::kExact,
                           std::span(&in_bias, spec_.input_bias ? 1 : 0), {0, inner}));
  RETURN_IF_ERROR(conv_.load(weights, {&conv, 1}, std::span(&conv_bias, spec_.conv_bias ? 1 : 0)));
  ASSIGN_OR_RETURN(step_bias_, weights.vector({"ssm_dt.bias", heads}));
  ASSIGN_OR_RETURN(rates_, weights.vector({"ssm_a", 1, heads}));
  ASSIGN_OR_RETURN(skip_, weights.vector({"ssm_d", 1, heads}));
  if (spec_.norm) {
    ASSIGN_OR_RETURN(norm_, load_norm(spec_.norm, inner / spec_.groups, weights, spec_.groups));
  }
  return out_.load(weights, {&out, 1}, InputForm::kCompact,
                   std::span(&out_bias, spec_.output_bias ? 1 : 0));
}

Mamba2::Workspace Mamba2::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.in = layout.rows(rows, spec_.inner + spec_.conv_channels() + spec_.heads),
          .conv = layout.rows(rows, spec_.conv_channels()),
          .steps = layout.rows(rows, spec_.heads),
          .decays = layout.rows(rows, spec_.heads),
          .mixed = layout.rows(rows, spec_.inner),
          .mixed_in = layout.activations(out_.input_forms(), rows, spec_.inner)};
}

int64_t Mamba2::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Mamba2::gate_and_norm(Lane& lane, const Ops& ops, Rows<float> z, Rows<float> mixed) const {
  const auto norm = [&] {
    if (!norm_) return;
    ops.norm_heads(lane, mixed, spec_.groups, *norm_);
    ops.barrier(lane);
  };
  if (spec_.norm_before_gate) norm();
  ops.gate(lane, mixed, ops::kSiluOfElements, z, mixed);
  ops.barrier(lane);
  if (!spec_.norm_before_gate) norm();
}

void Mamba2::forward(Lane& lane, const BodyContext& context, const Activations& in,
                     ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const int64_t keys = spec_.groups * spec_.state_dim;
  const Rows<float> raw_steps = columns(work.in, spec_.inner + spec_.conv_channels(), spec_.heads);
  const ops::StateLayer states = context.place.state_layer();
  const Ops& ops = context.ops;

  in_.forward(lane, ops, in, ops::Store::kSet, work.in);
  ops.barrier(lane);
  ops.causal_conv(lane, *context.place.states, states, conv_.conv(true),
                  columns(work.in, spec_.inner, spec_.conv_channels()), work.conv);
  ops.time_steps(lane,
                 {.bias = step_bias_,
                  .rates = rates_,
                  .smallest = spec_.step_smallest,
                  .largest = spec_.step_largest},
                 raw_steps, work.steps, work.decays);
  ops.barrier(lane);
  ops.matrix_scan(lane, *context.place.states, states.from(mamba2_conv_state(spec_)),
                  {.rule = ops::MatrixScan::Rule::kAdd,
                   .heads = spec_.heads,
                   .key_heads = spec_.groups,
                   .key_dim = spec_.state_dim,
                   .value_dim = spec_.head_dim(),
                   .skip = skip_},
                  {.queries = columns(work.conv, spec_.inner + keys, keys),
                   .keys = columns(work.conv, spec_.inner, keys),
                   .values = columns(work.conv, 0, spec_.inner),
                   .decays = work.decays,
                   .strengths = work.steps},
                  work.mixed);
  ops.barrier(lane);
  gate_and_norm(lane, ops, columns(work.in, 0, spec_.inner), work.mixed);
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  out_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
