#include "nn/ffn/sparse_ffn.h"

namespace millrace {

std::unique_ptr<Body> SparseFfnSpec::make(RopeTable&) const {
  return std::make_unique<SparseFfn>(*this);
}

absl::Status SparseFfn::load(Weights& weights) {
  const auto& [width, hidden] = std::pair(spec_.width, spec_.hidden);
  RETURN_IF_ERROR(gate_.load(weights, {"ffn_gate", hidden, width}, InputForm::kCompact));
  RETURN_IF_ERROR(up_.load(weights, {"ffn_up", hidden, width}, InputForm::kCompact));
  return down_.load(weights, {"ffn_down", width, hidden}, InputForm::kCompact);
}

ActivationForms SparseFfn::input_forms() const {
  ActivationForms forms = gate_.input_forms();
  forms |= up_.input_forms();
  return forms;
}

SparseFfn::Workspace SparseFfn::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.gates = layout.rows(rows, spec_.hidden),
          .ups = layout.rows(rows, spec_.hidden),
          .hidden = layout.activations(down_.input_forms(), rows, spec_.hidden)};
}

int64_t SparseFfn::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void SparseFfn::forward(Lane& lane, const BodyContext& context, const Activations& in,
                        ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  gate_.forward(lane, ops, in, ops::Store::kSet, work.gates);
  up_.forward(lane, ops, in, ops::Store::kSet, work.ups);
  ops.barrier(lane);
  ops.keep_largest(lane, spec_.deviations, work.gates);
  ops.barrier(lane);
  ops.gate(lane, work.ups,
           {.kind = ops::ElementFunction::Kind::kActivation, .activation = spec_.function},
           work.gates, work.ups);
  ops.barrier(lane);
  ops.convert(lane, work.ups, work.hidden);
  ops.barrier(lane);
  down_.forward(lane, ops, work.hidden, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
