#include "nn/recurrent/rwkv/rwkv7.h"

#include <string>

#include "nn/recurrent/state_spec.h"

namespace millrace {

KvSpec Rwkv7Spec::kv(DType) const {
  return state_of(state_part(width) + state_part(width * head_dim()));
}

std::unique_ptr<Body> Rwkv7Spec::make(RopeTable&) const { return std::make_unique<Rwkv7>(*this); }

absl::Status Rwkv7::load_low_rank(Weights& weights, Input input, std::string_view letter,
                                  ElementFunction::Kind function, bool biased) {
  LowRank& low = low_[input];
  low.function = {.kind = function};
  const std::string down = fmt::format("time_mix_{}1", letter);
  const std::string up = fmt::format("time_mix_{}2", letter);
  const std::string bias_name = fmt::format("time_mix_{}0.weight", letter);
  // Gates reach no state, but rounding a sum of few terms twice costs more than it saves.
  RETURN_IF_ERROR(low.down.load(weights, {down, low.rank, spec_.width}, InputForm::kExact));
  const MatrixOrder order = {up, spec_.width, low.rank};
  const VectorOrder bias = {bias_name, spec_.width};
  return low.up.load(weights, {&order, 1}, InputForm::kExact, std::span(&bias, biased ? 1 : 0));
}

absl::Status Rwkv7::load(Weights& weights) {
  using Kind = ElementFunction::Kind;
  const auto parts = static_cast<int64_t>(inputs());
  ASSIGN_OR_RETURN(shares_, weights.vector({"time_mix_lerp_fused.weight", spec_.width, parts}));
  low_[kDecay].rank = spec_.decay_rank;
  low_[kRate].rank = spec_.rate_rank;
  low_[kValue].rank = spec_.value_rank;
  low_[kGate].rank = spec_.gate_rank;
  RETURN_IF_ERROR(load_low_rank(weights, kDecay, "w", Kind::kTanh, true));
  RETURN_IF_ERROR(load_low_rank(weights, kRate, "a", Kind::kIdentity, true));
  if (!is_first()) RETURN_IF_ERROR(load_low_rank(weights, kValue, "v", Kind::kIdentity, true));
  if (spec_.gate_rank > 0)
    RETURN_IF_ERROR(load_low_rank(weights, kGate, "g", Kind::kSigmoid, false));
  ASSIGN_OR_RETURN(removal_scale_, weights.vector({"time_mix_k_k.weight", spec_.width}));
  ASSIGN_OR_RETURN(key_mix_, weights.vector({"time_mix_k_a.weight", spec_.width}));
  ASSIGN_OR_RETURN(bonus_, weights.vector({"time_mix_r_k.weight", spec_.width}));
  const auto load = [&](Linear& linear, std::string_view name, InputForm form) {
    return linear.load(weights, {name, spec_.width, spec_.width}, form);
  };
  RETURN_IF_ERROR(load(receptance_, "time_mix_receptance", InputForm::kExact));
  RETURN_IF_ERROR(load(key_, "time_mix_key", InputForm::kExact));
  RETURN_IF_ERROR(load(value_, "time_mix_value", InputForm::kExact));
  if (spec_.norm) {
    ASSIGN_OR_RETURN(norm_, load_norm(spec_.norm, spec_.width, weights));
  }
  return load(output_, "time_mix_output", InputForm::kCompact);
}

ActivationForms Rwkv7::forms_of(Input input) const {
  ActivationForms forms;
  if (low_[input].rank > 0) forms |= low_[input].down.input_forms();
  if (input == kReceptance) forms |= receptance_.input_forms();
  if (input == kKey) forms |= key_.input_forms();
  if (input == kValue) forms |= value_.input_forms();
  return forms;
}

Rwkv7::Workspace Rwkv7::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t width = spec_.width;
  Workspace work;
  for (size_t i = 0; i < inputs(); ++i) {
    work.inputs[i] = layout.activations(forms_of(static_cast<Input>(i)), rows, width);
    if (low_[i].rank == 0) continue;
    work.low[i] = {.low = layout.rows(rows, low_[i].rank),
                   .low_in = layout.activations(low_[i].up.input_forms(), rows, low_[i].rank),
                   .out = layout.rows(rows, width)};
  }
  work.receptances = layout.rows(rows, width);
  work.keys = layout.rows(rows, width);
  if (!is_first()) work.values = layout.rows(rows, width);
  work.removals = layout.rows(rows, width);
  work.mixed = layout.rows(rows, width);
  work.mixed_in = layout.activations(output_.input_forms(), rows, width);
  return work;
}

int64_t Rwkv7::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Rwkv7::products(Lane& lane, const Ops& ops, const Workspace& work, Rows<float> values) const {
  constexpr ops::Store kSet = ops::Store::kSet;
  receptance_.forward(lane, ops, work.inputs[kReceptance], kSet, work.receptances);
  key_.forward(lane, ops, work.inputs[kKey], kSet, work.keys);
  value_.forward(lane, ops, work.inputs[kValue], kSet, values);
  for (size_t i = 0; i < kInputs; ++i) {
    if (low_[i].rank > 0) low_[i].down.forward(lane, ops, work.inputs[i], kSet, work.low[i].low);
  }
  ops.barrier(lane);
}

void Rwkv7::finish_low_ranks(Lane& lane, const Ops& ops, const Workspace& work) const {
  for (size_t i = 0; i < kInputs; ++i) {
    if (low_[i].rank == 0 || low_[i].function.kind == ElementFunction::Kind::kIdentity) continue;
    ops.gate(lane, {}, low_[i].function, work.low[i].low, work.low[i].low);
  }
  ops.barrier(lane);
  for (size_t i = 0; i < kInputs; ++i) {
    if (low_[i].rank > 0) ops.convert(lane, work.low[i].low, work.low[i].low_in);
  }
  ops.barrier(lane);
  for (size_t i = 0; i < kInputs; ++i) {
    if (low_[i].rank == 0) continue;
    low_[i].up.forward(lane, ops, work.low[i].low_in, ops::Store::kSet, work.low[i].out);
  }
  ops.barrier(lane);
}

void Rwkv7::scan(Lane& lane, const BodyContext& context, const Workspace& work,
                 Rows<float> values) const {
  context.ops.matrix_scan(lane, *context.place.states,
                          context.place.state_layer().from(state_part(spec_.width)),
                          {.rule = ops::MatrixScan::Rule::kPair,
                           .heads = spec_.heads,
                           .key_heads = spec_.heads,
                           .key_dim = spec_.head_dim(),
                           .value_dim = spec_.head_dim()},
                          {.queries = work.receptances,
                           .keys = work.keys,
                           .values = values,
                           .decays = work.low[kDecay].out,
                           .a = work.removals,
                           .b = work.low[kRate].out},
                          work.mixed);
  context.ops.barrier(lane);
}

void Rwkv7::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                    Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const Rows<float> values = is_first() ? context.step_rows : work.values;
  ops.token_shift(lane, *context.place.states, context.place.state_layer(), {.weights = shares_},
                  {in.f32, in.rows, in.width, in.width}, std::span(work.inputs).first(inputs()));
  ops.barrier(lane);
  products(lane, ops, work, values);
  finish_low_ranks(lane, ops, work);
  ops.delta_inputs(lane,
                   {.heads = spec_.heads, .removal_scale = removal_scale_, .key_mix = key_mix_},
                   {.keys = work.keys,
                    .rates = work.low[kRate].out,
                    .decays = work.low[kDecay].out,
                    .removals = work.removals,
                    .values = is_first() ? Rows<float>() : values,
                    .value_shares = work.low[kValue].out,
                    .first_values = context.step_rows});
  ops.barrier(lane);
  scan(lane, context, work, values);
  if (norm_) {
    ops.norm_heads(lane, work.mixed, spec_.heads, *norm_);
    ops.barrier(lane);
  }
  ops.add_head_bonus(lane, {.heads = spec_.heads, .weights = bonus_}, work.receptances, work.keys,
                     values, work.mixed);
  ops.barrier(lane);
  if (spec_.gate_rank > 0) {
    ops.gate(lane, work.mixed, {}, work.low[kGate].out, work.mixed);
    ops.barrier(lane);
  }
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  output_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
