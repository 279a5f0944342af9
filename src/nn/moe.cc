#include "nn/moe.h"

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
  RETURN_IF_ERROR(load(gate_, {"ffn_gate_exps", experts, hidden, width}));
  RETURN_IF_ERROR(load(up_, {"ffn_up_exps", experts, hidden, width}));
  RETURN_IF_ERROR(load(down_, {"ffn_down_exps", experts, width, hidden}));
  return spec_.shared_hidden == 0 ? absl::OkStatus() : load_shared(weights);
}

absl::Status Moe::load_shared(Weights& weights) {
  const int64_t width = spec_.width;
  const int64_t hidden = spec_.shared_hidden;
  const InputForm compact = InputForm::kCompact;
  if (spec_.shared_gate) {
    RETURN_IF_ERROR(
        shared_weight_.load(weights, {"ffn_gate_inp_shexp", 1, width}, InputForm::kExact));
  }
  RETURN_IF_ERROR(shared_gate_.load(weights, {"ffn_gate_shexp", hidden, width}, compact));
  RETURN_IF_ERROR(shared_up_.load(weights, {"ffn_up_shexp", hidden, width}, compact));
  return shared_down_.load(weights, {"ffn_down_shexp", width, hidden}, compact);
}

ActivationForms Moe::expert_forms() const {
  ActivationForms forms = gate_.input_forms();
  forms |= up_.input_forms();
  return forms;
}

ActivationForms Moe::input_forms() const {
  ActivationForms forms = expert_forms();
  forms |= router_.input_forms();
  forms |= shared_gate_.input_forms();
  forms |= shared_up_.input_forms();
  forms |= shared_weight_.input_forms();
  return forms;
}

Moe::Workspace Moe::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t chosen = spec_.routing.chosen;
  const int64_t places = rows * chosen;
  const int64_t shared_rows = spec_.shared_hidden == 0 ? 0 : rows;
  return {
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
  };
}

int64_t Moe::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

// What the shared expert does goes between the same barriers as what chooses experts.
void Moe::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                  Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const bool shares = spec_.shared_hidden != 0;
  router_.forward(lane, ops, in, ops::Store::kSet, work.logits);
  if (shares) {
    ops.hidden(lane,
               {.gate = &shared_gate_.matrix(),
                .up = &shared_up_.matrix(),
                .gate_bias = {},
                .up_bias = {},
                .function = spec_.function},
               in, work.shared_hidden);
    if (spec_.shared_gate) {
      shared_weight_.forward(lane, ops, in, ops::Store::kSet, work.shared_gates);
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
    ops.gather_dispatched(lane, in, work.dispatch, work.gathered);
    ops.barrier(lane);
  }
  ops.expert_hidden(lane,
                    {.gate = &gate_.matrices(),
                     .up = &up_.matrices(),
                     .gate_bias = gate_.bias(),
                     .up_bias = up_.bias(),
                     .function = spec_.function,
                     .weighted = spec_.weighs_inputs},
                    one_row ? in : work.gathered, work.dispatch, work.hidden);
  ops.barrier(lane);
  ops.expert_linear(lane, down_.matrices(), work.hidden, down_.bias(), work.dispatch, work.outputs);
  ops.barrier(lane);
  ops.combine(
      lane, work.dispatch,
      {.weighted = !spec_.weighs_inputs, .shared = work.shared, .shared_gates = work.shared_gates},
      work.outputs, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
