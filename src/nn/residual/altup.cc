#include "nn/residual/altup.h"

namespace millrace {
namespace {

constexpr float kLeastSquare = 1e-5F;  // that a projection's mean square counts as

}  // namespace

absl::Status AltUp::load(const AltUpSpec& spec, int64_t width, Weights& weights) {
  spec_ = spec;
  width_ = width;
  const int64_t streams = spec.streams;
  ASSIGN_OR_RETURN(router_norm_, load_norm(spec.router_norm, width, weights));
  RETURN_IF_ERROR(router_.load(weights, {"altup_router", streams, width}, InputForm::kExact));
  ASSIGN_OR_RETURN(predict_,
                   weights.vector({"altup_predict_coef.weight", streams, streams * streams}));
  ASSIGN_OR_RETURN(correct_, weights.vector({"altup_correct_coef.weight", streams, streams}));
  ASSIGN_OR_RETURN(output_scale_, weights.vector({"altup_correct_scale.weight", width}));
  return absl::OkStatus();
}

AltUp::Workspace AltUp::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.normed = layout.activations(router_.input_forms(), rows, width_),
          .modes = layout.rows(rows, spec_.streams)};
}

int64_t AltUp::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

Rows<float> AltUp::modes_of(Lane& lane, const Ops& ops, std::byte* workspace,
                            Rows<float> streams) const {
  WorkspaceLayout layout(workspace);
  const Workspace work = lay_out(layout, streams.rows);
  ops.norm(lane, active_of(streams), router_norm_, work.normed);
  ops.barrier(lane);
  router_.forward(lane, ops, work.normed, ops::Store::kSet, work.modes);
  ops.barrier(lane);
  ops.scale(lane, work.modes, 1 / static_cast<float>(width_), 1);
  ops.barrier(lane);
  return work.modes;
}

void AltUp::predict(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams,
                    Rows<float> aside) const {
  const Rows<float> modes = modes_of(lane, ops, workspace, streams);
  ops.predict_streams(lane, {.weights = predict_, .active = spec_.active}, modes, streams, aside);
  ops.barrier(lane);
}

void AltUp::correct(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams,
                    Rows<float> aside) const {
  const Rows<float> modes = modes_of(lane, ops, workspace, streams);
  ops.correct_streams(lane, {.weights = correct_, .active = spec_.active}, modes, aside, streams);
  ops.barrier(lane);
  const Rows<const float> scale = {output_scale_.data(), aside.rows, width_, 0};
  ops.gate(lane, active_of(streams), {.kind = ops::ElementFunction::Kind::kIdentity}, scale, aside);
  ops.barrier(lane);
}

void AltUp::spread(Lane& lane, const Ops& ops, Rows<const float> aside, Rows<float> streams) const {
  for (int64_t i = 1; i < spec_.streams; ++i) {
    ops.add(lane, aside, nullptr, 1, columns(streams, i * width_, width_));
  }
  ops.barrier(lane);
}

absl::Status AltUpEnds::load(const AltUpSpec& spec, int64_t width, Weights& weights) {
  others_ = spec.streams - 1;
  width_ = width;
  RETURN_IF_ERROR(begins_.load(weights, {"altup_proj", others_, width, width}, InputForm::kExact));
  return ends_.load(weights, {"altup_unembd_proj", others_, width, width}, InputForm::kExact);
}

AltUpEnds::Workspace AltUpEnds::lay_out(WorkspaceLayout& layout, int64_t rows) const {
  return {.first = layout.activations(begins_.input_forms(), rows, width_),
          .others = layout.activations(ends_.input_forms(), rows, others_ * width_),
          .projected = layout.rows(rows, others_ * width_)};
}

int64_t AltUpEnds::workspace_bytes(int64_t rows) const {
  WorkspaceLayout layout(nullptr);
  lay_out(layout, rows);
  return layout.bytes();
}

void AltUpEnds::begin(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams) const {
  WorkspaceLayout layout(workspace);
  const Workspace work = lay_out(layout, streams.rows);
  const Rows<float> first = columns(streams, 0, width_);
  const Rows<float> others = columns(streams, width_, others_ * width_);
  ops.convert(lane, first, work.first);
  ops.barrier(lane);
  ops.head_linear(lane, begins_.matrices(), work.first, 0, width_, others);
  ops.barrier(lane);
  ops.match_magnitude(lane, first, kLeastSquare, others);
  ops.barrier(lane);
}

void AltUpEnds::end(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams) const {
  WorkspaceLayout layout(workspace);
  const Workspace work = lay_out(layout, streams.rows);
  const Rows<float> first = columns(streams, 0, width_);
  ops.convert(lane, columns(streams, width_, others_ * width_), work.others);
  ops.barrier(lane);
  ops.head_linear(lane, ends_.matrices(), work.others, width_, width_, work.projected);
  ops.barrier(lane);
  ops.match_magnitude(lane, first, kLeastSquare, work.projected);
  ops.barrier(lane);
  for (int64_t i = 0; i < others_; ++i) {
    ops.add(lane, columns(work.projected, i * width_, width_), nullptr, 1, first);
    ops.barrier(lane);
  }
  ops.scale(lane, first, 1 / static_cast<float>(streams.width / width_), 0);
  ops.barrier(lane);
}

}  // namespace millrace
