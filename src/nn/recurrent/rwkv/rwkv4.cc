#include "nn/recurrent/rwkv/rwkv4.h"

#include <array>
#include <cmath>

#include "nn/recurrent/state_spec.h"

namespace millrace {

KvSpec Rwkv4Spec::kv(DType) const {
  return state_of(state_part(width) + ops::Wkv4::kParts * state_part(inner));
}

std::unique_ptr<Body> Rwkv4Spec::make(RopeTable&) const { return std::make_unique<Rwkv4>(*this); }

absl::Status Rwkv4::load(Weights& weights) {
  const std::array<VectorOrder, 3> shares = {{{"time_mix_lerp_k.weight", spec_.width},
                                              {"time_mix_lerp_v.weight", spec_.width},
                                              {"time_mix_lerp_r.weight", spec_.width}}};
  ASSIGN_OR_RETURN(shares_, weights.vectors(shares));
  ASSIGN_OR_RETURN(const std::span<const float> decay,
                   weights.vector({"time_mix_decay.weight", spec_.inner}));
  for (const float x : decay) decay_.push_back(static_cast<float>(std::exp(double{x})));
  ASSIGN_OR_RETURN(bonus_, weights.vector({"time_mix_first.weight", spec_.inner}));
  RETURN_IF_ERROR(
      key_.load(weights, {"time_mix_key", spec_.inner, spec_.width}, InputForm::kExact));
  RETURN_IF_ERROR(
      value_.load(weights, {"time_mix_value", spec_.inner, spec_.width}, InputForm::kExact));
  RETURN_IF_ERROR(receptance_.load(weights, {"time_mix_receptance", spec_.inner, spec_.width},
                                   InputForm::kCompact));
  return output_.load(weights, {"time_mix_output", spec_.width, spec_.inner}, InputForm::kCompact);
}

Rwkv4::Workspace Rwkv4::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.key_in = layout.activations(key_.input_forms(), rows, spec_.width),
          .value_in = layout.activations(value_.input_forms(), rows, spec_.width),
          .receptance_in = layout.activations(receptance_.input_forms(), rows, spec_.width),
          .keys = layout.rows(rows, spec_.inner),
          .values = layout.rows(rows, spec_.inner),
          .receptances = layout.rows(rows, spec_.inner),
          .mixed_in = layout.activations(output_.input_forms(), rows, spec_.inner)};
}

int64_t Rwkv4::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Rwkv4::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                    Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const ops::StateRows& rows = *context.place.states;
  const ops::StateLayer states = context.place.state_layer();
  const std::array inputs = {work.key_in, work.value_in, work.receptance_in};
  ops.token_shift(lane, rows, states, {.weights = shares_, .own_share = true},
                  {in.f32, in.rows, in.width, in.width}, inputs);
  ops.barrier(lane);
  key_.forward(lane, ops, work.key_in, ops::Store::kSet, work.keys);
  value_.forward(lane, ops, work.value_in, ops::Store::kSet, work.values);
  receptance_.forward(lane, ops, work.receptance_in, ops::Store::kSet, work.receptances);
  ops.barrier(lane);
  ops.wkv4(lane, rows, states.from(state_part(spec_.width)), {.decay = decay_, .bonus = bonus_},
           work.keys, work.values, work.values);
  ops.barrier(lane);
  ops.gate(lane, work.values, {.kind = ElementFunction::Kind::kSigmoid}, work.receptances,
           work.values);
  ops.barrier(lane);
  ops.convert(lane, work.values, work.mixed_in);
  ops.barrier(lane);
  output_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
