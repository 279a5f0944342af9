#include "nn/recurrent/mamba.h"

#include "nn/recurrent/state_spec.h"

namespace millrace {
namespace {

int64_t mamba_conv_state(const MambaSpec& spec) {
  return state_part((spec.conv_kernel - 1) * spec.inner);
}

}  // namespace

KvSpec MambaSpec::kv(DType) const {
  return state_of(mamba_conv_state(*this) + state_part(state_dim * inner));
}

std::unique_ptr<Body> MambaSpec::make(RopeTable&) const { return std::make_unique<Mamba>(*this); }

absl::Status Mamba::load_norms(Weights& weights) {
  const auto load = [&](const NormSpec& spec, int64_t width,
                        std::optional<ops::Norm>& norm) -> absl::Status {
    if (!spec) return absl::OkStatus();
    ASSIGN_OR_RETURN(norm, load_norm(spec, width, weights));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(load(spec_.step_norm, spec_.step_rank, step_norm_));
  RETURN_IF_ERROR(load(spec_.b_norm, spec_.state_dim, b_norm_));
  return load(spec_.c_norm, spec_.state_dim, c_norm_);
}

absl::Status Mamba::load(Weights& weights) {
  RETURN_IF_ERROR(check_state_rows(spec_.state_dim));
  const auto& [width, inner, state_dim, rank] =
      std::tuple(spec_.width, spec_.inner, spec_.state_dim, spec_.step_rank);
  const MatrixOrder in = {"ssm_in", 2 * inner, width};
  const MatrixOrder out = {"ssm_out", width, inner};
  const VectorOrder in_bias = {"ssm_in.bias", 2 * inner};
  const VectorOrder out_bias = {"ssm_out.bias", width};
  const VectorOrder conv = {"ssm_conv1d.weight", spec_.conv_kernel, inner};
  const VectorOrder conv_bias = {"ssm_conv1d.bias", inner};
  const size_t biases = spec_.biases ? 1 : 0;
  RETURN_IF_ERROR(
      in_.load(weights, {&in, 1}, InputForm::kExact, std::span(&in_bias, biases), {inner, inner}));
  RETURN_IF_ERROR(conv_.load(weights, {&conv, 1}, std::span(&conv_bias, spec_.conv_bias ? 1 : 0)));
  RETURN_IF_ERROR(low_.load(weights, {"ssm_x", rank + 2 * state_dim, inner}, InputForm::kExact));
  RETURN_IF_ERROR(load_norms(weights));
  RETURN_IF_ERROR(steps_.load(weights, {"ssm_dt", inner, rank}, InputForm::kExact));
  ASSIGN_OR_RETURN(step_bias_, weights.vector({"ssm_dt.bias", inner}));
  ASSIGN_OR_RETURN(const std::span<const float> rates, weights.vector({"ssm_a", state_dim, inner}));
  rates_ = transposed(rates, inner);
  ASSIGN_OR_RETURN(skip_, weights.vector({"ssm_d", inner}));
  return out_.load(weights, {&out, 1}, InputForm::kCompact, std::span(&out_bias, biases));
}

Mamba::Workspace Mamba::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.in = layout.rows(rows, 2 * spec_.inner),
          .x = layout.rows(rows, spec_.inner),
          .x_in = layout.activations(low_.input_forms(), rows, spec_.inner),
          .low = layout.rows(rows, spec_.step_rank + 2 * spec_.state_dim),
          .low_in = layout.activations(steps_.input_forms(), rows, spec_.step_rank),
          .steps = layout.rows(rows, spec_.inner),
          .mixed = layout.rows(rows, spec_.inner),
          .mixed_in = layout.activations(out_.input_forms(), rows, spec_.inner)};
}

int64_t Mamba::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Mamba::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                    Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Rows<float> z = columns(work.in, spec_.inner, spec_.inner);
  const Rows<float> low_steps = columns(work.low, 0, spec_.step_rank);
  const Rows<float> b = columns(work.low, spec_.step_rank, spec_.state_dim);
  const Rows<float> c = columns(work.low, spec_.step_rank + spec_.state_dim, spec_.state_dim);
  const ops::StateLayer states = context.place.state_layer();
  const Ops& ops = context.ops;

  in_.forward(lane, ops, in, ops::Store::kSet, work.in);
  ops.barrier(lane);
  ops.causal_conv(lane, *context.place.states, states, conv_.conv(true),
                  columns(work.in, 0, spec_.inner), work.x);
  ops.barrier(lane);
  ops.convert(lane, work.x, work.x_in);
  ops.barrier(lane);
  low_.forward(lane, ops, work.x_in, ops::Store::kSet, work.low);
  ops.barrier(lane);
  if (b_norm_) ops.norm_in_place(lane, b, *b_norm_);
  if (c_norm_) ops.norm_in_place(lane, c, *c_norm_);
  if (step_norm_) {
    ops.norm(lane, low_steps, *step_norm_, work.low_in);
  } else {
    ops.convert(lane, low_steps, work.low_in);
  }
  ops.barrier(lane);
  steps_.forward(lane, ops, work.low_in, ops::Store::kSet, work.steps);
  ops.barrier(lane);
  ops.selective_scan(
      lane, *context.place.states, states.from(mamba_conv_state(spec_)),
      {.state_dim = spec_.state_dim, .rates = rates_, .bias = step_bias_, .skip = skip_},
      {.in = work.x, .steps = work.steps, .b = b, .c = c}, work.mixed);
  ops.barrier(lane);
  ops.gate(lane, work.mixed, ops::kSiluOfElements, z, work.mixed);
  ops.barrier(lane);
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  out_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
