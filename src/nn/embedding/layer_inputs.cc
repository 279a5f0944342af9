#include "nn/embedding/layer_inputs.h"

#include <cmath>
#include <numbers>

namespace millrace {

absl::Status LayerInputs::load(const LayerInputsSpec& spec, int64_t vocab, int64_t stream,
                               Weights& weights) {
  spec_ = spec;
  stream_ = stream;
  RETURN_IF_ERROR(
      table_.load(weights, {"per_layer_token_embd", vocab, spec.all_width()}, InputForm::kCompact));
  RETURN_IF_ERROR(projection_.load(weights, {"per_layer_model_proj", spec.all_width(), stream},
                                   InputForm::kCompact));
  ASSIGN_OR_RETURN(norm_, load_norm(spec.projection_norm, spec.width, weights));
  return absl::OkStatus();
}

LayerInputs::Workspace LayerInputs::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.in = layout.activations(projection_.input_forms(), rows, stream_),
          .projected = layout.rows(rows, spec_.all_width())};
}

int64_t LayerInputs::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void LayerInputs::forward(Lane& lane, const Ops& ops, std::span<const TokenId> tokens,
                          Rows<const float> embedded, std::byte* workspace, Rows<float> out) const {
  WorkspaceLayout layout(workspace);
  const Workspace work = lay_out(layout, embedded.rows);
  constexpr float kShare = std::numbers::sqrt2_v<float> / 2;
  const Rows<float> parts = {work.projected.data, embedded.rows * spec_.layers, spec_.width,
                             spec_.width};
  ops.embed(lane, table_.matrix(), tokens, out);
  ops.convert(lane, embedded, work.in);
  ops.barrier(lane);
  ops.scale(lane, out, spec_.table_scale * kShare, 0);
  projection_.forward(lane, ops, work.in, ops::Store::kSet, work.projected);
  ops.barrier(lane);
  ops.scale(lane, work.projected, 1 / std::sqrt(static_cast<float>(stream_)), 0);
  ops.barrier(lane);
  ops.norm_in_place(lane, parts, *norm_);
  ops.barrier(lane);
  ops.add(lane, work.projected, nullptr, kShare, out);
  ops.barrier(lane);
}

std::unique_ptr<Body> LayerInputSpec::make(RopeTable&) const {
  return std::make_unique<LayerInput>(*this);
}

absl::Status LayerInput::load(Weights& weights) {
  RETURN_IF_ERROR(
      gate_.load(weights, {"inp_gate", spec_.input_width, spec_.width}, InputForm::kCompact));
  return projection_.load(weights, {"proj", spec_.width, spec_.input_width}, InputForm::kCompact);
}

LayerInput::Workspace LayerInput::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.gates = layout.rows(rows, spec_.input_width),
          .hidden = layout.activations(projection_.input_forms(), rows, spec_.input_width)};
}

int64_t LayerInput::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void LayerInput::forward(Lane& lane, const BodyContext& context, const Activations& in,
                         ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const Rows<const float> all = context.layer_inputs;
  const Rows<const float> own = {all.data + spec_.layer * spec_.input_width, all.rows,
                                 spec_.input_width, all.stride};
  gate_.forward(lane, ops, in, ops::Store::kSet, work.gates);
  ops.barrier(lane);
  ops.gate(lane, own,
           {.kind = ops::ElementFunction::Kind::kActivation, .activation = spec_.function},
           work.gates, work.gates);
  ops.barrier(lane);
  ops.convert(lane, work.gates, work.hidden);
  ops.barrier(lane);
  projection_.forward(lane, ops, work.hidden, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
