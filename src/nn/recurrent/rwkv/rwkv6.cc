#include "nn/recurrent/rwkv/rwkv6.h"

#include <cmath>

#include "nn/recurrent/state_spec.h"

namespace millrace {
namespace {

constexpr ElementFunction kTanh = {.kind = ElementFunction::Kind::kTanh};
constexpr ElementFunction kDecayOf = {.kind = ElementFunction::Kind::kDecay};
constexpr ElementFunction kLoss = {.kind = ElementFunction::Kind::kOneMinus};

}  // namespace

KvSpec Rwkv6Spec::kv(DType) const {
  return state_of(state_part(width) + state_part(width * head_dim()));
}

std::unique_ptr<Body> Rwkv6Spec::make(RopeTable&) const { return std::make_unique<Rwkv6>(*this); }

absl::Status Rwkv6::load_shares(Weights& weights) {
  if (has_mix()) {
    const int64_t low = int64_t{kInputs} * spec_.mix_rank;
    ASSIGN_OR_RETURN(mix_shares_, weights.vector({"time_mix_lerp_x.weight", spec_.width}));
    RETURN_IF_ERROR(mix_low_.load(weights, {"time_mix_w1", low, spec_.width}, InputForm::kExact));
    RETURN_IF_ERROR(mix_.load(weights, {"time_mix_w2", kInputs, spec_.width, spec_.mix_rank},
                              InputForm::kExact));
  }
  if (spec_.joined_shares) {
    ASSIGN_OR_RETURN(shares_,
                     weights.vector({"time_mix_lerp_fused.weight", spec_.width, int64_t{kInputs}}));
    return absl::OkStatus();
  }
  const std::array<VectorOrder, kInputs> orders = {{{"time_mix_lerp_w.weight", spec_.width},
                                                    {"time_mix_lerp_k.weight", spec_.width},
                                                    {"time_mix_lerp_v.weight", spec_.width},
                                                    {"time_mix_lerp_r.weight", spec_.width},
                                                    {"time_mix_lerp_g.weight", spec_.width}}};
  ASSIGN_OR_RETURN(shares_, weights.vectors(std::span(orders).subspan(has_decays() ? 0 : 1)));
  return absl::OkStatus();
}

absl::Status Rwkv6::load_decays(Weights& weights) {
  const VectorOrder base = {"time_mix_decay.weight", spec_.width};
  if (has_decays()) {
    RETURN_IF_ERROR(decay_low_.load(weights, {"time_mix_decay_w1", spec_.decay_rank, spec_.width},
                                    InputForm::kExact));
    const MatrixOrder decay = {"time_mix_decay_w2", spec_.width, spec_.decay_rank};
    return decay_.load(weights, {&decay, 1}, InputForm::kExact, {&base, 1});
  }
  ASSIGN_OR_RETURN(const std::span<const float> logs, weights.vector(base));
  for (const float x : logs) {
    fixed_decays_.push_back(static_cast<float>(std::exp(-std::exp(double{x}))));
  }
  return absl::OkStatus();
}

absl::Status Rwkv6::load_matrices(Weights& weights) {
  const auto load = [&](Linear& linear, std::string_view name, int64_t rows, InputForm form,
                        bool biased) {
    const MatrixOrder order = {name, rows, spec_.width};
    const std::string bias_name = fmt::format("{}.bias", name);
    const VectorOrder bias = {bias_name, rows};
    return linear.load(weights, {&order, 1}, form, std::span(&bias, biased ? 1 : 0));
  };
  const int64_t keys = spec_.keys_width();
  RETURN_IF_ERROR(load(key_, "time_mix_key", keys, InputForm::kExact, spec_.key_bias));
  RETURN_IF_ERROR(load(value_, "time_mix_value", keys, InputForm::kExact, spec_.value_bias));
  RETURN_IF_ERROR(load(receptance_, "time_mix_receptance", spec_.width, InputForm::kExact,
                       spec_.receptance_bias));
  RETURN_IF_ERROR(load(gate_, "time_mix_gate", spec_.width, InputForm::kCompact, false));
  return load(output_, "time_mix_output", spec_.width, InputForm::kCompact, false);
}

absl::Status Rwkv6::load(Weights& weights) {
  RETURN_IF_ERROR(load_shares(weights));
  RETURN_IF_ERROR(load_decays(weights));
  if (spec_.bonus) {
    ASSIGN_OR_RETURN(bonus_,
                     weights.vector({"time_mix_first.weight", spec_.head_dim(), spec_.heads}));
  }
  RETURN_IF_ERROR(load_matrices(weights));
  if (spec_.norm) {
    ASSIGN_OR_RETURN(norm_, load_norm(spec_.norm, spec_.width, weights));
  }
  for (int64_t i = 0; shares_keys() && i < spec_.width; ++i) {
    const int64_t head = i / spec_.head_dim() * spec_.key_heads / spec_.heads;
    key_columns_.push_back(static_cast<int32_t>(head * spec_.head_dim() + i % spec_.head_dim()));
  }
  return absl::OkStatus();
}

Rwkv6::Workspace Rwkv6::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  const int64_t width = spec_.width;
  Workspace work;
  if (has_mix()) {
    const int64_t low = int64_t{kInputs} * spec_.mix_rank;
    work.mix_in = layout.activations(mix_low_.input_forms(), rows, width);
    work.mix_low = layout.rows(rows, low);
    work.mix_low_in = layout.activations(mix_.input_forms(), rows, low);
    work.mix = layout.rows(rows, int64_t{kInputs} * width);
  }
  const std::array readers = {&decay_low_, &key_, &value_, &receptance_, &gate_};
  for (size_t i = has_decays() ? 0 : 1; i < kInputs; ++i) {
    work.inputs[i] = layout.activations(readers[i]->input_forms(), rows, width);
  }
  if (has_decays()) {
    work.decay_low = layout.rows(rows, spec_.decay_rank);
    work.decay_low_in = layout.activations(decay_.input_forms(), rows, spec_.decay_rank);
    work.decays = layout.rows(rows, width);
  }
  work.keys = layout.rows(rows, spec_.keys_width());
  work.values = layout.rows(rows, spec_.keys_width());
  work.all_keys = shares_keys() ? layout.rows(rows, width) : work.keys;
  work.all_values = shares_keys() ? layout.rows(rows, width) : work.values;
  work.receptances = layout.rows(rows, width);
  work.gates = layout.rows(rows, width);
  work.mixed = layout.rows(rows, width);
  work.mixed_in = layout.activations(output_.input_forms(), rows, width);
  return work;
}

int64_t Rwkv6::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void Rwkv6::mix(Lane& lane, const BodyContext& context, const Activations& in,
                const Workspace& work) const {
  const Ops& ops = context.ops;
  const Rows<const float> from = {in.f32, in.rows, in.width, in.width};
  const ops::StateRows& rows = *context.place.states;
  const ops::StateLayer states = context.place.state_layer();
  if (has_mix()) {
    ops.token_shift(lane, rows, states, {.weights = mix_shares_, .advances = false}, from,
                    {&work.mix_in, 1});
    ops.barrier(lane);
    mix_low_.forward(lane, ops, work.mix_in, ops::Store::kSet, work.mix_low);
    ops.barrier(lane);
    ops.gate(lane, {}, kTanh, work.mix_low, work.mix_low);
    ops.barrier(lane);
    ops.convert(lane, work.mix_low, work.mix_low_in);
    ops.barrier(lane);
    ops.head_linear(lane, mix_.matrices(), work.mix_low_in, spec_.mix_rank, spec_.width, work.mix);
    ops.barrier(lane);
  }
  ops.token_shift(lane, rows, states,
                  {.weights = shares_, .own_share = spec_.own_share, .added = work.mix}, from,
                  std::span(work.inputs).subspan(has_decays() ? 0 : 1));
  ops.barrier(lane);
}

void Rwkv6::products(Lane& lane, const Ops& ops, const Workspace& work) const {
  constexpr ops::Store kSet = ops::Store::kSet;
  if (has_decays()) decay_low_.forward(lane, ops, work.inputs[kDecay], kSet, work.decay_low);
  key_.forward(lane, ops, work.inputs[kKey], kSet, work.keys);
  value_.forward(lane, ops, work.inputs[kValue], kSet, work.values);
  receptance_.forward(lane, ops, work.inputs[kReceptance], kSet, work.receptances);
  gate_.forward(lane, ops, work.inputs[kGate], kSet, work.gates);
  ops.barrier(lane);
}

void Rwkv6::make_decays(Lane& lane, const Ops& ops, const Workspace& work) const {
  ops.gate(lane, {}, kTanh, work.decay_low, work.decay_low);
  ops.barrier(lane);
  ops.convert(lane, work.decay_low, work.decay_low_in);
  ops.barrier(lane);
  decay_.forward(lane, ops, work.decay_low_in, ops::Store::kSet, work.decays);
  ops.barrier(lane);
  ops.gate(lane, {}, kDecayOf, work.decays, work.decays);
  ops.barrier(lane);
}

void Rwkv6::spread_keys(Lane& lane, const Ops& ops, const Workspace& work) const {
  if (shares_keys()) {
    ops.gather_columns(lane, work.keys, key_columns_, work.all_keys);
    ops.gather_columns(lane, work.values, key_columns_, work.all_values);
    ops.barrier(lane);
  }
  if (spec_.keys_by_loss) {
    ops.gate(lane, work.all_keys, kLoss, work.decays, work.all_keys);
    ops.barrier(lane);
  }
}

void Rwkv6::scan(Lane& lane, const BodyContext& context, const Workspace& work) const {
  using enum ops::MatrixScan::Rule;
  const int64_t rows = work.mixed.rows;
  const Rows<const float> decays =
      has_decays() ? Rows<const float>(work.decays)
                   : Rows<const float>{fixed_decays_.data(), rows, spec_.width, 0};
  context.ops.matrix_scan(lane, *context.place.states,
                          context.place.state_layer().from(state_part(spec_.width)),
                          {.rule = spec_.bonus ? kReadFirst : kAdd,
                           .heads = spec_.heads,
                           .key_heads = spec_.heads,
                           .key_dim = spec_.head_dim(),
                           .value_dim = spec_.head_dim(),
                           .scale = spec_.scale,
                           .bonus = bonus_},
                          {.queries = work.receptances,
                           .keys = work.all_keys,
                           .values = work.all_values,
                           .decays = decays},
                          work.mixed);
  context.ops.barrier(lane);
}

void Rwkv6::forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
                    Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const Ops& ops = context.ops;
  mix(lane, context, in, work);
  products(lane, ops, work);
  if (has_decays()) make_decays(lane, ops, work);
  spread_keys(lane, ops, work);
  scan(lane, context, work);
  if (norm_) {
    ops.norm_heads(lane, work.mixed, spec_.heads, *norm_);
    ops.barrier(lane);
  }
  ops.gate(lane, work.mixed, spec_.gate, work.gates, work.mixed);
  ops.barrier(lane);
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  output_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
