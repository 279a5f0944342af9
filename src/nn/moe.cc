#include "nn/moe.h"

#include <cmath>

namespace millrace {

std::unique_ptr<Body> MoeSpec::make(RopeTable&) const { return std::make_unique<Moe>(*this); }

absl::Status Moe::load(Weights& weights) {
  const int64_t width = spec_.width;
  const int64_t hidden = spec_.hidden;
  const int64_t experts = spec_.experts;
  // Which experts are chosen must not hang on a rounding.
  const MatrixOrder router = {"ffn_gate_inp", experts, width};
  const VectorOrder router_bias = {"ffn_gate_inp.bias", experts};
  RETURN_IF_ERROR(router_.load(weights, {&router, 1}, InputForm::kExact,
                               std::span(&router_bias, spec_.router_bias ? 1 : 0)));
  routing_ = spec_.routing;
  if (spec_.selection_bias) {
    ASSIGN_OR_RETURN(routing_.selection_bias, weights.vector({"exp_probs_b.bias", experts}));
  }
  const auto load = [&](ExpertLinear& linear, const ExpertOrder& order) {
    return linear.load(weights, order, InputForm::kCompact, spec_.biases);
  };
  if (spec_.gated) RETURN_IF_ERROR(load(gate_, {"ffn_gate_exps", experts, hidden, width}));
  RETURN_IF_ERROR(load(up_, {"ffn_up_exps", experts, hidden, width}));
  RETURN_IF_ERROR(load(down_, {"ffn_down_exps", experts, width, hidden}));
  if (spec_.expert_scales) {
    ASSIGN_OR_RETURN(routing_.expert_scales, weights.vector({"ffn_down_exps.scale", experts}));
  }
  if (spec_.part_norms) RETURN_IF_ERROR(load_norms(weights));
  return spec_.shared_hidden == 0 ? absl::OkStatus() : load_shared(weights);
}

absl::Status Moe::load_norms(Weights& weights) {
  const int64_t width = spec_.width;
  PartNorms& norms = norms_.emplace();
  ASSIGN_OR_RETURN(const auto weight, weights.vector({"ffn_gate_inp.scale", width}));
  norms.router_weight.assign(weight.begin(), weight.end());
  for (float& x : norms.router_weight) x /= std::sqrt(static_cast<float>(width));
  norms.router = {.weight = norms.router_weight, .epsilon = spec_.part_norms->router_epsilon};
  ASSIGN_OR_RETURN(norms.experts, load_norm(spec_.part_norms->experts, width, weights));
  ASSIGN_OR_RETURN(norms.after_experts, load_norm(spec_.part_norms->after_experts, width, weights));
  ASSIGN_OR_RETURN(norms.shared, load_norm(spec_.part_norms->shared, width, weights));
  ASSIGN_OR_RETURN(norms.after_shared, load_norm(spec_.part_norms->after_shared, width, weights));
  return absl::OkStatus();
}

absl::Status Moe::load_shared(Weights& weights) {
  const int64_t width = spec_.width;
  const int64_t hidden = spec_.shared_hidden;
  const InputForm compact = InputForm::kCompact;
  if (spec_.shared_gate) {
    RETURN_IF_ERROR(
        shared_weight_.load(weights, {"ffn_gate_inp_shexp", 1, width}, InputForm::kExact));
  }
  if (spec_.gated) {
    RETURN_IF_ERROR(shared_gate_.load(weights, {"ffn_gate_shexp", hidden, width}, compact));
  }
  RETURN_IF_ERROR(shared_up_.load(weights, {"ffn_up_shexp", hidden, width}, compact));
  return shared_down_.load(weights, {"ffn_down_shexp", width, hidden}, compact);
}

ActivationForms Moe::expert_forms() const {
  ActivationForms forms = gate_.input_forms();
  forms |= up_.input_forms();
  return forms;
}

ActivationForms Moe::shared_forms() const {
  ActivationForms forms = shared_gate_.input_forms();
  forms |= shared_up_.input_forms();
  forms |= shared_weight_.input_forms();
  return forms;
}

ActivationForms Moe::input_forms() const {
  if (norms_) return {.f32 = true};
  ActivationForms forms = expert_forms();
  forms |= router_.input_forms();
  forms |= shared_forms();
  return forms;
}

Moe::Workspace Moe::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t chosen = spec_.routing.chosen;
  const int64_t places = rows * chosen;
  const int64_t shared_rows = spec_.shared_hidden == 0 ? 0 : rows;
  const int64_t normed_rows = norms_ ? rows : 0;
  return {
      .normed = {.router = layout.activations(router_.input_forms(), normed_rows, spec_.width),
                 .experts = layout.activations(expert_forms(), normed_rows, spec_.width),
                 .shared = layout.activations(shared_forms(), normed_rows, spec_.width)},
      .logits = layout.rows(rows, spec_.experts),
      .choice = layout.rows(rows, spec_.experts),
      .dispatch = layout.dispatch(rows, chosen, spec_.experts),
      .gathered = layout.activations(expert_forms(), rows == 1 ? 0 : places, spec_.width),
      .hidden = layout.activations(down_.input_forms(), places, spec_.hidden),
      .outputs = layout.rows(places, spec_.width),
      .shared_hidden =
          layout.activations(shared_down_.input_forms(), shared_rows, spec_.shared_hidden),
      .shared = layout.rows(shared_rows, spec_.shared_hidden == 0 ? 0 : spec_.width),
      .shared_gates = layout.rows(shared_rows, spec_.shared_gate ? 1 : 0),
      .sum = layout.rows(normed_rows, spec_.width),
  };
}

int64_t Moe::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Moe::norm_inputs(Lane& lane, const Ops& ops, const Activations& in, const Inputs& out) const {
  const Rows<const float> stream = {in.f32, in.rows, in.width, in.width};
  ops.norm(lane, stream, norms_->router, out.router);
  ops.norm(lane, stream, norms_->experts, out.experts);
  ops.norm(lane, stream, norms_->shared, out.shared);
  ops.barrier(lane);
}

void Moe::combine_normed(Lane& lane, const Ops& ops, const Workspace& work, ops::Store store,
                         Rows<float> out) const {
  const bool adds = store == ops::Store::kAdd;
  const Rows<float> sum = adds ? work.sum : out;
  ops.combine(lane, work.dispatch, {}, work.outputs, ops::Store::kSet, sum);
  ops.barrier(lane);
  if (adds) {
    ops.add(lane, sum, &norms_->after_experts, 1, out);
  } else {
    ops.norm_in_place(lane, out, norms_->after_experts);
  }
  ops.barrier(lane);
  ops.add(lane, work.shared, &norms_->after_shared, 1, out);
  ops.barrier(lane);
}

// What the shared expert does goes between the same barriers as what chooses experts.
void Moe::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                  Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const bool shares = spec_.shared_hidden != 0;
  const Inputs inputs = norms_ ? work.normed : Inputs{in, in, in};
  if (norms_) norm_inputs(lane, ops, in, inputs);
  router_.forward(lane, ops, inputs.router, ops::Store::kSet, work.logits);
  if (shares) {
    ops.hidden(lane,
               {.gate = spec_.gated ? &shared_gate_.matrix() : nullptr,
                .up = &shared_up_.matrix(),
                .gate_bias = {},
                .up_bias = {},
                .function = spec_.function},
               inputs.shared, work.shared_hidden);
    if (spec_.shared_gate) {
      shared_weight_.forward(lane, ops, inputs.shared, ops::Store::kSet, work.shared_gates);
    }
  }
  ops.barrier(lane);
  ops.route(lane, routing_, work.logits, work.choice, work.dispatch);
  if (shares) {
    shared_down_.forward(lane, ops, work.shared_hidden, ops::Store::kSet, work.shared);
  }
  ops.barrier(lane);
  ops.dispatch(lane, work.dispatch);
  ops.barrier(lane);
  const bool one_row = in.rows == 1;
  if (!one_row) {
    ops.gather_dispatched(lane, inputs.experts, work.dispatch, work.gathered);
    ops.barrier(lane);
  }
  ops.expert_hidden(lane,
                    {.gate = spec_.gated ? &gate_.matrices() : nullptr,
                     .up = &up_.matrices(),
                     .gate_bias = gate_.bias(),
                     .up_bias = up_.bias(),
                     .function = spec_.function,
                     .weighted = spec_.weighs_inputs},
                    one_row ? inputs.experts : work.gathered, work.dispatch, work.hidden);
  ops.barrier(lane);
  ops.expert_linear(lane, down_.matrices(), work.hidden, down_.bias(), work.dispatch, work.outputs);
  ops.barrier(lane);
  if (norms_) return combine_normed(lane, ops, work, store, out);
  ops.combine(
      lane, work.dispatch,
      {.weighted = !spec_.weighs_inputs, .shared = work.shared, .shared_gates = work.shared_gates},
      work.outputs, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
