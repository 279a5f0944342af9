#include "nn/residual/laurel.h"

namespace millrace {

std::unique_ptr<Body> LaurelSpec::make(RopeTable&) const { return std::make_unique<Laurel>(*this); }

absl::Status Laurel::load(Weights& weights) {
  RETURN_IF_ERROR(left_.load(weights, {"laurel_l", spec_.rank, spec_.width}, InputForm::kCompact));
  RETURN_IF_ERROR(right_.load(weights, {"laurel_r", spec_.width, spec_.rank}, InputForm::kCompact));
  ASSIGN_OR_RETURN(norm_, load_norm(spec_.norm, spec_.width, weights));
  return absl::OkStatus();
}

ActivationForms Laurel::input_forms() const {
  ActivationForms forms = left_.input_forms();
  forms.f32 = true;
  return forms;
}

Laurel::Workspace Laurel::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.low = layout.rows(rows, spec_.rank),
          .low_in = layout.activations(right_.input_forms(), rows, spec_.rank),
          .made = layout.rows(rows, spec_.width)};
}

int64_t Laurel::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Laurel::forward(Lane& lane, const BodyContext& context, const Activations& in,
                     ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const Rows<float> made = store == ops::Store::kSet ? out : work.made;
  left_.forward(lane, ops, in, ops::Store::kSet, work.low);
  ops.barrier(lane);
  ops.convert(lane, work.low, work.low_in);
  ops.barrier(lane);
  right_.forward(lane, ops, work.low_in, ops::Store::kSet, made);
  ops.barrier(lane);
  ops.norm_in_place(lane, made, norm_);
  ops.barrier(lane);
  ops.add(lane, {in.f32, in.rows, in.width, in.width}, nullptr, 1, made);
  ops.barrier(lane);
  if (store == ops::Store::kSet) return;
  ops.add(lane, made, nullptr, 1, out);
  ops.barrier(lane);
}

}  // namespace millrace
