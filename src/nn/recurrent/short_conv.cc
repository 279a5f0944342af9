#include "nn/recurrent/short_conv.h"

#include "nn/recurrent/state_spec.h"

namespace millrace {

KvSpec ShortConvSpec::kv(DType) const { return state_of(state_part((conv_kernel - 1) * width)); }

std::unique_ptr<Body> ShortConvSpec::make(RopeTable&) const {
  return std::make_unique<ShortConv>(*this);
}

absl::Status ShortConv::load(Weights& weights) {
  const int64_t width = spec_.width;
  const MatrixOrder in = {"shortconv.in_proj", 3 * width, width};
  const MatrixOrder out = {"shortconv.out_proj", width, width};
  const VectorOrder in_bias = {"shortconv.in_proj.bias", 3 * width};
  const VectorOrder out_bias = {"shortconv.out_proj.bias", width};
  const VectorOrder conv = {"shortconv.conv.weight", spec_.conv_kernel, width};
  const VectorOrder conv_bias = {"shortconv.conv.bias", width};
  const size_t biases = spec_.biases ? 1 : 0;
  RETURN_IF_ERROR(
      in_.load(weights, {&in, 1}, InputForm::kExact, std::span(&in_bias, biases), {width, width}));
  RETURN_IF_ERROR(conv_.load(weights, {&conv, 1}, std::span(&conv_bias, biases)));
  return out_.load(weights, {&out, 1}, InputForm::kCompact, std::span(&out_bias, biases));
}

ShortConv::Workspace ShortConv::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.in = layout.rows(rows, 3 * spec_.width),
          .mixed = layout.rows(rows, spec_.width),
          .mixed_in = layout.activations(out_.input_forms(), rows, spec_.width)};
}

int64_t ShortConv::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void ShortConv::forward(Lane& lane, const BodyContext& context, const Activations& in,
                        ops::Store store, Rows<float> out) const {
  WorkspaceLayout layout(context.workspace);
  const Workspace work = lay_out(layout, in.rows);
  const int64_t width = spec_.width;
  const Rows<float> b = columns(work.in, 0, width);
  const Rows<float> c = columns(work.in, width, width);
  const Rows<float> x = columns(work.in, 2 * width, width);
  const Ops& ops = context.ops;

  in_.forward(lane, ops, in, ops::Store::kSet, work.in);
  ops.barrier(lane);
  ops.gate(lane, x, {}, b, x);
  ops.barrier(lane);
  ops.causal_conv(lane, *context.place.states, context.place.state_layer(), conv_.conv(false), x,
                  work.mixed);
  ops.barrier(lane);
  ops.gate(lane, work.mixed, {}, c, work.mixed);
  ops.barrier(lane);
  ops.convert(lane, work.mixed, work.mixed_in);
  ops.barrier(lane);
  out_.forward(lane, ops, work.mixed_in, store, out);
  ops.barrier(lane);
}

}  // namespace millrace
