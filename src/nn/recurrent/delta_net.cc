#include "nn/recurrent/delta_net.h"

#include <cmath>

#include "nn/recurrent/state_spec.h"

namespace millrace {
namespace {

int64_t delta_conv_state(const DeltaNetSpec& spec) {
  return state_part((spec.conv_kernel - 1) * spec.conv_channels());
}

constexpr ops::ElementFunction kSigmoidOfElements = {.kind = ops::ElementFunction::Kind::kSigmoid};

}  // namespace

KvSpec DeltaNetSpec::kv(DType) const {
  return state_of(delta_conv_state(*this) + state_part(heads * key_dim * value_dim));
}

std::unique_ptr<Body> DeltaNetSpec::make(RopeTable&) const {
  return std::make_unique<DeltaNet>(*this);
}

int64_t DeltaNet::in_width() const {
  const int64_t qkv = spec_.conv_channels();
  return is_low_rank() ? qkv + spec_.heads + 2 * spec_.rank
                       : qkv + spec_.values_width() + 2 * spec_.heads;
}

absl::Status DeltaNet::load_inputs(Weights& weights) {
  const int64_t width = spec_.width;
  const int64_t heads = spec_.heads;
  std::vector<MatrixOrder> orders;
  GateRows gates = {spec_.conv_channels(), spec_.values_width()};
  switch (spec_.tensors) {
    case DeltaNetSpec::Tensors::kJoined:
      orders = {{"attn_qkv", spec_.conv_channels(), width},
                {"attn_gate", spec_.values_width(), width},
                {"ssm_ba", 2 * heads, width}};
      break;
    case DeltaNetSpec::Tensors::kApart:
      orders = {{"attn_qkv", spec_.conv_channels(), width},
                {"attn_gate", spec_.values_width(), width},
                {"ssm_beta", heads, width},
                {"ssm_alpha", heads, width}};
      break;
    case DeltaNetSpec::Tensors::kLowRank:
      orders = {{"attn_q", spec_.keys_width(), width},   {"attn_k", spec_.keys_width(), width},
                {"attn_v", spec_.values_width(), width}, {"ssm_beta", heads, width},
                {"ssm_f_a", spec_.rank, width},          {"ssm_g_a", spec_.rank, width}};
      gates = {spec_.conv_channels() + heads + spec_.rank, spec_.rank};
      RETURN_IF_ERROR(
          low_decays_.load(weights, {"ssm_f_b", decays_width(), spec_.rank}, InputForm::kExact));
      RETURN_IF_ERROR(low_gates_.load(weights, {"ssm_g_b", spec_.values_width(), spec_.rank},
                                      InputForm::kCompact));
      break;
  }
  return in_.load(weights, orders, InputForm::kExact, {}, gates);
}

absl::Status DeltaNet::load_conv(Weights& weights) {
  const int64_t kernel = spec_.conv_kernel;
  std::vector<VectorOrder> orders = {{"ssm_conv1d.weight", kernel, spec_.conv_channels()}};
  const VectorOrder bias = {"ssm_conv1d.bias", spec_.conv_channels()};
  if (is_low_rank()) {
    orders = {{"ssm_conv1d_q.weight", kernel, spec_.keys_width()},
              {"ssm_conv1d_k.weight", kernel, spec_.keys_width()},
              {"ssm_conv1d_v.weight", kernel, spec_.values_width()}};
  }
  return conv_.load(weights, orders, std::span(&bias, spec_.conv_bias ? 1 : 0));
}

absl::Status DeltaNet::load(Weights& weights) {
  RETURN_IF_ERROR(check_state_rows(spec_.key_dim));
  RETURN_IF_ERROR(load_inputs(weights));
  RETURN_IF_ERROR(load_conv(weights));
  ASSIGN_OR_RETURN(bias_, weights.vector({"ssm_dt.bias", decays_width()}));
  ASSIGN_OR_RETURN(rates_, weights.vector({"ssm_a", spec_.heads}));
  ASSIGN_OR_RETURN(norm_, load_norm(spec_.norm, spec_.value_dim, weights));
  // A length of 1 is a mean square of 1 / key_dim.
  l2_weight_.assign(static_cast<size_t>(spec_.key_dim),
                    1 / std::sqrt(static_cast<float>(spec_.key_dim)));
  if (spec_.tensors == DeltaNetSpec::Tensors::kJoined) {
    const int64_t share = spec_.heads / spec_.key_heads;
    for (int64_t head = 0; head < spec_.heads; ++head) {
      const int64_t beta = head / share * 2 * share + head % share;
      beta_columns_.push_back(static_cast<int32_t>(beta));
      alpha_columns_.push_back(static_cast<int32_t>(beta + share));
    }
  }
  const std::string_view out = is_low_rank() ? "attn_output" : "ssm_out";
  return out_.load(weights, {out, spec_.width, spec_.values_width()}, InputForm::kCompact);
}

DeltaNet::Workspace DeltaNet::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t values = spec_.values_width();
  ActivationForms low = low_decays_.input_forms();
  low |= low_gates_.input_forms();
  Workspace work = {.in = layout.rows(rows, in_width()),
                    .conv = layout.rows(rows, spec_.conv_channels()),
                    .betas = layout.rows(rows, spec_.heads),
                    .decays = layout.rows(rows, decays_width()),
                    .gates = {},
                    .low_in = {},
                    .mixed = layout.rows(rows, values),
                    .mixed_in = layout.activations(out_.input_forms(), rows, values)};
  if (is_low_rank()) {
    work.gates = layout.rows(rows, values);
    work.low_in = layout.activations(low, rows, spec_.rank);
  } else {
    work.gates = columns(work.in, spec_.conv_channels(), values);
  }
  return work;
}

int64_t DeltaNet::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

// Ends before a barrier.
void DeltaNet::low_rank(Lane& lane, const Ops& ops, const Workspace& work) const {
  const int64_t first = spec_.conv_channels() + spec_.heads;
  ops.convert(lane, columns(work.in, first, spec_.rank), work.low_in);
  ops.barrier(lane);
  low_decays_.forward(lane, ops, work.low_in, ops::Store::kSet, work.decays);
  ops.barrier(lane);
  ops.convert(lane, columns(work.in, first + spec_.rank, spec_.rank), work.low_in);
  ops.barrier(lane);
  low_gates_.forward(lane, ops, work.low_in, ops::Store::kSet, work.gates);
}

// Of the input's products; ends before a barrier.
void DeltaNet::decays_and_strengths(Lane& lane, const Ops& ops, const Workspace& work) const {
  const ops::TimeSteps steps = {.bias = bias_, .rates = rates_};
  const int64_t first = spec_.conv_channels() + (is_low_rank() ? 0 : spec_.values_width());
  if (is_low_rank()) {
    ops.gate(lane, {}, kSigmoidOfElements, columns(work.in, first, spec_.heads), work.betas);
    ops.time_steps(lane, steps, work.decays, {}, work.decays);
    return;
  }
  Rows<float> betas = columns(work.in, first, spec_.heads);
  Rows<float> alphas = columns(work.in, first + spec_.heads, spec_.heads);
  if (!beta_columns_.empty()) {
    const Rows<float> both = columns(work.in, first, 2 * spec_.heads);
    ops.gather_columns(lane, both, beta_columns_, work.betas);
    ops.gather_columns(lane, both, alpha_columns_, work.decays);
    ops.barrier(lane);
    betas = work.betas;
    alphas = work.decays;
  }
  ops.gate(lane, {}, kSigmoidOfElements, betas, work.betas);
  ops.time_steps(lane, steps, alphas, {}, work.decays);
}

void DeltaNet::scan(Lane& lane, const BodyContext& context, const Workspace& work) const {
  using Sharing = ops::MatrixScan::Sharing;
  const int64_t keys = spec_.keys_width();
  context.ops.matrix_scan(lane, *context.place.states,
                          context.place.state_layer().from(delta_conv_state(spec_)),
                          {.rule = ops::MatrixScan::Rule::kDelta,
                           .sharing = spec_.heads_in_turn ? Sharing::kInTurn : Sharing::kNeighbours,
                           .heads = spec_.heads,
                           .key_heads = spec_.key_heads,
                           .key_dim = spec_.key_dim,
                           .value_dim = spec_.value_dim,
                           .scale = 1 / std::sqrt(static_cast<float>(spec_.key_dim))},
                          {.queries = columns(work.conv, 0, keys),
                           .keys = columns(work.conv, keys, keys),
                           .values = columns(work.conv, 2 * keys, spec_.values_width()),
                           .decays = work.decays,
                           .strengths = work.betas},
                          work.mixed);
}

void DeltaNet::forward(Lane& lane, const BodyContext& context, const Activations& in,
                       ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;

  in_.forward(lane, ops, in, ops::Store::kSet, work.in);
  ops.barrier(lane);
  ops.causal_conv(lane, *context.place.states, context.place.state_layer(), conv_.conv(true),
                  columns(work.in, 0, spec_.conv_channels()), work.conv);
  if (is_low_rank()) {
    low_rank(lane, ops, work);
    ops.barrier(lane);
  }
  decays_and_strengths(lane, ops, work);
  ops.barrier(lane);
  ops.norm_heads(
      lane, columns(work.conv, 0, 2 * spec_.keys_width()), 2 * spec_.key_heads,
      {.weight = l2_weight_, .epsilon = spec_.l2_epsilon / static_cast<float>(spec_.key_dim)});
  ops.barrier(lane);
  scan(lane, context, work);
  ops.barrier(lane);
  ops.norm_heads(lane, work.mixed, spec_.heads, *norm_);
  ops.barrier(lane);
  ops.gate(lane, work.mixed, spec_.gate, work.gates, work.mixed);
  ops.barrier(lane);
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  out_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
