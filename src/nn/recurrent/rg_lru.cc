#include "nn/recurrent/rg_lru.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "nn/recurrent/state_spec.h"

namespace millrace {

KvSpec RgLruSpec::kv(DType) const {
  return state_of(state_part(inner) + state_part((conv_kernel - 1) * inner));
}

std::unique_ptr<Body> RgLruSpec::make(RopeTable&) const { return std::make_unique<RgLru>(*this); }

absl::Status RgLru::load(Weights& weights) {
  const auto load = [&](Linear& linear, std::string_view name, int64_t rows, int64_t width,
                        InputForm form) {
    const MatrixOrder order = {name, rows, width};
    const std::string bias_name = fmt::format("{}.bias", name);
    const VectorOrder bias = {bias_name, rows};
    return linear.load(weights, {&order, 1}, form, {&bias, 1});
  };
  RETURN_IF_ERROR(load(in_, "lru_in", spec_.inner, spec_.width, InputForm::kExact));
  RETURN_IF_ERROR(load(gate_, "lru_gate", spec_.inner, spec_.width, InputForm::kCompact));
  RETURN_IF_ERROR(load(out_, "lru_out", spec_.width, spec_.inner, InputForm::kCompact));
  const VectorOrder kernel = {"lru_conv1d.weight", spec_.conv_kernel, spec_.inner};
  const VectorOrder conv_bias = {"lru_conv1d.bias", spec_.inner};
  RETURN_IF_ERROR(conv_.load(weights, {&kernel, 1}, {&conv_bias, 1}));
  const int64_t block = spec_.inner / spec_.heads;
  const auto load_gate = [&](ExpertLinear& gate, std::string_view name) {
    return gate.load(weights, {name, spec_.heads, block, block}, InputForm::kExact, true);
  };
  RETURN_IF_ERROR(load_gate(input_gate_, "lru_input_gate"));
  RETURN_IF_ERROR(load_gate(recurrence_gate_, "lru_recurrence_gate"));
  ASSIGN_OR_RETURN(const std::span<const float> lambda, weights.vector({"lru_a", spec_.inner}));
  for (const float x : lambda) {
    const double softplus = std::max(double{x}, 0.0) + std::log1p(std::exp(-std::abs(double{x})));
    decay_.push_back(static_cast<float>(8 * softplus));
  }
  return absl::OkStatus();
}

ActivationForms RgLru::input_forms() const {
  ActivationForms forms = in_.input_forms();
  forms |= gate_.input_forms();
  return forms;
}

RgLru::Workspace RgLru::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  ActivationForms gate_forms = input_gate_.input_forms();
  gate_forms |= recurrence_gate_.input_forms();
  return {.in = layout.rows(rows, spec_.inner),
          .gates = layout.rows(rows, spec_.inner),
          .conv = layout.rows(rows, spec_.inner),
          .conv_in = layout.activations(gate_forms, rows, spec_.inner),
          .input_gates = layout.rows(rows, spec_.inner),
          .recurrence_gates = layout.rows(rows, spec_.inner),
          .mixed_in = layout.activations(out_.input_forms(), rows, spec_.inner)};
}

int64_t RgLru::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void RgLru::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                    Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  const ops::StateRows& rows = *context.place.states;
  const ops::StateLayer states = context.place.state_layer();
  const int64_t block = spec_.inner / spec_.heads;
  in_.forward(lane, ops, in, ops::Store::kSet, work.in);
  gate_.forward(lane, ops, in, ops::Store::kSet, work.gates);
  ops.barrier(lane);
  ops.causal_conv(lane, rows, states.from(state_part(spec_.inner)), conv_.conv(false), work.in,
                  work.conv);
  ops.barrier(lane);
  ops.convert(lane, work.conv, work.conv_in);
  ops.barrier(lane);
  ops.head_linear(lane, input_gate_.matrices(), work.conv_in, block, block, work.input_gates);
  ops.head_linear(lane, recurrence_gate_.matrices(), work.conv_in, block, block,
                  work.recurrence_gates);
  ops.barrier(lane);
  ops.rg_lru(lane, rows, states,
             {.decay = decay_,
              .input_bias = input_gate_.bias(),
              .recurrence_bias = recurrence_gate_.bias()},
             work.conv, work.input_gates, work.recurrence_gates, work.conv);
  ops.barrier(lane);
  ops.gate(lane, work.conv,
           {.kind = ElementFunction::Kind::kActivation, .activation = spec_.function}, work.gates,
           work.conv);
  ops.barrier(lane);
  ops.convert(lane, work.conv, work.mixed_in);
  ops.barrier(lane);
  out_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
