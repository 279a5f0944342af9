#include "nn/layer.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {

KvSpec kv_spec(const BodySpec& body, DType cache) {
  return std::visit([cache](const auto& spec) { return spec.kv(cache); }, body);
}

Stage::Stage(const StageSpec& spec, int64_t width, RopeTable& ropes) : width_(width) {
  CHECK(!spec.empty() && spec.size() <= kStageBranchesMax, "{} branches in a stage", spec.size());
  kept_ = spec[0].kept;
  CHECK(!kept_.normed || (spec.size() == 1 && spec[0].pre_norm), "a stream without its norm");
  for (const BranchSpec& branch : spec) {
    branches_.push_back(
        {.body = std::visit([&](const auto& s) { return s.make(ropes); }, branch.body),
         .input = input_of(branch.pre_norm),
         .post_spec = branch.post_norm,
         .post_norm = std::nullopt,
         .scale = branch.scale});
  }
}

size_t Stage::input_of(const NormSpec& norm) {
  const auto found = std::ranges::find(inputs_, norm, &Input::spec);
  const auto index = static_cast<size_t>(found - inputs_.begin());
  if (found == inputs_.end()) inputs_.push_back({.spec = norm, .norm = std::nullopt, .forms = {}});
  return index;
}

absl::Status Stage::load(Weights& weights) {
  for (Input& input : inputs_) {
    if (!input.spec) continue;
    ASSIGN_OR_RETURN(input.norm, load_norm(input.spec, width_, weights));
  }
  for (Branch& branch : branches_) {
    RETURN_IF_ERROR(branch.body->load(weights));
    inputs_[branch.input].forms |= branch.body->input_forms();
    if (!branch.post_spec) continue;
    ASSIGN_OR_RETURN(branch.post_norm, load_norm(branch.post_spec, width_, weights));
  }
  return absl::OkStatus();
}

Stage::Workspace Stage::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  Workspace work;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    work.inputs[i] = layout.activations(inputs_[i].forms, rows, width_);
  }
  if (!std::ranges::all_of(branches_, &Branch::is_plain)) work.sum = layout.rows(rows, width_);
  work.rest = layout.rest();
  return work;
}

int64_t Stage::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  int64_t rest = 0;
  for (const Branch& branch : branches_) {
    rest = std::max(rest, branch.body->workspace_bytes(rows));
  }
  return layout.bytes() + rest;
}

int64_t Stage::step_width() const {
  int64_t width = 0;
  for (const Branch& branch : branches_) width = std::max(width, branch.body->step_width());
  return width;
}

int64_t Stage::carried_bytes(std::span<const KvPlace> places, int lanes) const {
  int64_t bytes = 0;
  for (size_t i = 0; i < branches_.size(); ++i) {
    bytes = std::max(bytes, branches_[i].body->carried_bytes(places[i], lanes));
  }
  return bytes;
}

void Stage::keep(Lane& lane, const Ops& ops, Rows<float> residual) const {
  if (kept_.normed) {
    ops.norm_in_place(lane, residual, *inputs_[0].norm);
    ops.barrier(lane);
  }
  if (kept_.factor == 1) return;
  ops.scale(lane, residual, kept_.factor, 0);
  ops.barrier(lane);
}

void Stage::forward(Lane& lane, const BodyContext& context, std::span<const KvPlace> places,
                    Rows<float> residual) const {
  const Ops& ops = context.ops;
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, residual.rows);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].norm) {
      ops.norm(lane, residual, *inputs_[i].norm, work.inputs[i]);
    } else {
      ops.convert(lane, residual, work.inputs[i]);
    }
  }
  ops.barrier(lane);
  keep(lane, ops, residual);
  for (size_t i = 0; i < branches_.size(); ++i) {
    const Branch& branch = branches_[i];
    const BodyContext own = {.ops = ops,
                             .ropes = context.ropes,
                             .layer_inputs = context.layer_inputs,
                             .place = places[i],
                             .step_rows = context.step_rows,
                             .workspace = work.rest,
                             .carried = context.carried};
    const bool plain = branch.is_plain();
    branch.body->forward(lane, own, work.inputs[branch.input],
                         plain ? ops::Store::kAdd : ops::Store::kSet, plain ? residual : work.sum);
    if (plain) continue;
    ops.add(lane, work.sum, branch.post_norm ? &*branch.post_norm : nullptr, branch.scale,
            residual);
    ops.barrier(lane);
  }
}

}  // namespace millrace
