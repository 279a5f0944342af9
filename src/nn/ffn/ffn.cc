#include "nn/ffn/ffn.h"

namespace millrace {

std::unique_ptr<Body> FfnSpec::make(RopeTable&) const { return std::make_unique<Ffn>(*this); }

absl::Status Ffn::load(Weights& weights) {
  const auto load = [&](Linear& linear, const MatrixOrder& order, bool biased,
                        const VectorOrder& bias) {
    return linear.load(weights, {&order, 1}, InputForm::kCompact, std::span(&bias, biased ? 1 : 0));
  };
  const auto& [width, hidden] = std::pair(spec_.width, spec_.hidden);
  if (spec_.gated) {
    RETURN_IF_ERROR(
        load(gate_, {"ffn_gate", hidden, width}, spec_.gate_bias, {"ffn_gate.bias", hidden}));
  }
  RETURN_IF_ERROR(load(up_, {"ffn_up", hidden, width}, spec_.up_bias, {"ffn_up.bias", hidden}));
  if (spec_.hidden_norm) {
    ASSIGN_OR_RETURN(hidden_norm_, load_norm(spec_.hidden_norm, hidden, weights));
  }
  return load(down_, {"ffn_down", width, hidden}, spec_.down_bias, {"ffn_down.bias", width});
}

ActivationForms Ffn::input_forms() const {
  ActivationForms forms = gate_.input_forms();
  forms |= up_.input_forms();
  return forms;
}

Ffn::Workspace Ffn::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const ActivationForms down = down_.input_forms();
  if (!hidden_norm_) return {.hidden = layout.activations(down, rows, spec_.hidden), .normed = {}};
  return {.hidden = layout.activations({.f32 = true}, rows, spec_.hidden),
          .normed = layout.activations(down, rows, spec_.hidden)};
}

int64_t Ffn::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Ffn::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                  Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  ops.hidden(lane,
             {.gate = spec_.gated ? &gate_.matrix() : nullptr,
              .up = &up_.matrix(),
              .gate_bias = gate_.bias(),
              .up_bias = up_.bias(),
              .function = spec_.function},
             in, work.hidden);
  ops.barrier(lane);
  if (hidden_norm_) {
    ops.norm(lane, {work.hidden.f32, in.rows, spec_.hidden, spec_.hidden}, *hidden_norm_,
             work.normed);
    ops.barrier(lane);
  }
  down_.forward(lane, ops, hidden_norm_ ? work.normed : work.hidden, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
