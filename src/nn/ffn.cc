#include "nn/ffn.h"

namespace millrace {

KvSpec Ffn::kv(DType) const { return {}; }

absl::Status Ffn::load(Weights& weights) {
  ASSIGN_OR_RETURN(norm_, weights.vector(Role::kFfnNorm, spec_.width));
  ASSIGN_OR_RETURN(gate_, weights.matrix({Role::kGate, spec_.hidden, spec_.width}));
  ASSIGN_OR_RETURN(up_, weights.matrix({Role::kUp, spec_.hidden, spec_.width}));
  input_forms_ = weights.input_forms(gate_.format(), InputForm::kCompact);
  input_forms_ |= weights.input_forms(up_.format(), InputForm::kCompact);
  const MatrixOrder down = {Role::kDown, spec_.width, spec_.hidden};
  return down_.load(weights, {&down, 1}, InputForm::kCompact);
}

Ffn::Workspace Ffn::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.normed = layout.activations(input_forms_, rows, spec_.width),
          .hidden = layout.activations(down_.input_forms(), rows, spec_.hidden)};
}

int64_t Ffn::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

int64_t Ffn::carried_bytes(const KvPlace&, int) const { return 0; }

void Ffn::forward(Lane& lane, const ForwardContext& context) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, context.residual.rows);
  context.ops.norm(lane, context.residual, {.weight = norm_, .epsilon = spec_.norm_epsilon},
                   work.normed);
  context.ops.barrier(lane);
  context.ops.hidden(lane, {.gate = &gate_, .up = &up_}, work.normed, work.hidden);
  context.ops.barrier(lane);
  down_.forward(lane, context.ops, work.hidden, ops::Store::kAdd, context.residual);
  context.ops.barrier(lane);
}

}  // namespace millrace
