#include "nn/recurrent/rwkv/channel_mix.h"

#include <array>

#include "nn/recurrent/state_spec.h"

namespace millrace {

KvSpec ChannelMixSpec::kv(DType) const { return state_of(state_part(width)); }

std::unique_ptr<Body> ChannelMixSpec::make(RopeTable&) const {
  return std::make_unique<ChannelMix>(*this);
}

absl::Status ChannelMix::load(Weights& weights) {
  const std::array<VectorOrder, 2> shares = {
      {{"channel_mix_lerp_k.weight", spec_.width}, {"channel_mix_lerp_r.weight", spec_.width}}};
  ASSIGN_OR_RETURN(shares_, weights.vectors(std::span(shares).first(spec_.gated ? 2 : 1)));
  RETURN_IF_ERROR(
      key_.load(weights, {"channel_mix_key", spec_.hidden, spec_.width}, InputForm::kCompact));
  if (spec_.gated) {
    RETURN_IF_ERROR(receptance_.load(weights, {"channel_mix_receptance", spec_.width, spec_.width},
                                     InputForm::kCompact));
  }
  return value_.load(weights, {"channel_mix_value", spec_.width, spec_.hidden},
                     InputForm::kCompact);
}

ChannelMix::Workspace ChannelMix::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  Workspace work = {.key_in = layout.activations(key_.input_forms(), rows, spec_.width),
                    .hidden = layout.activations(value_.input_forms(), rows, spec_.hidden),
                    .receptance_in = {},
                    .receptances = {},
                    .values = {}};
  if (!spec_.gated) return work;
  work.receptance_in = layout.activations(receptance_.input_forms(), rows, spec_.width);
  work.receptances = layout.rows(rows, spec_.width);
  work.values = layout.rows(rows, spec_.width);
  return work;
}

int64_t ChannelMix::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void ChannelMix::gate(Lane& lane, const Ops& ops, const Workspace& work, ops::Store store,
                      Rows<float> out) const {
  const ElementFunction sigmoid = {.kind = ElementFunction::Kind::kSigmoid};
  const bool adds = store == ops::Store::kAdd;
  ops.gate(lane, work.values, sigmoid, work.receptances, adds ? work.values : out);
  ops.barrier(lane);
  if (!adds) return;
  ops.add(lane, work.values, nullptr, 1, out);
  ops.barrier(lane);
}

void ChannelMix::forward(Lane& lane, const BodyContext& context, const Activations& in,
                         ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const std::array inputs = {work.key_in, work.receptance_in};
  ops.token_shift(lane, *context.place.states, context.place.state_layer(),
                  {.weights = shares_, .own_share = spec_.own_share},
                  {in.f32, in.rows, in.width, in.width},
                  std::span(inputs).first(spec_.gated ? 2 : 1));
  ops.barrier(lane);
  ops.hidden(
      lane,
      {.up = &key_.matrix(), .function = {.kind = ops::ActivationFunction::Kind::kReluSquared}},
      work.key_in, work.hidden);
  if (spec_.gated) {
    receptance_.forward(lane, ops, work.receptance_in, ops::Store::kSet, work.receptances);
  }
  ops.barrier(lane);
  value_.forward(lane, ops, work.hidden, spec_.gated ? ops::Store::kSet : store,
                 spec_.gated ? work.values : out);
  ops.barrier(lane);
  if (spec_.gated) gate(lane, ops, work, store, out);
}

}  // namespace millrace
