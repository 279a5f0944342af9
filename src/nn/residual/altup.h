#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nn/expert_linear.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

// Alternating updates (AltUp, Baykal et al. 2023): the residual of a row is several streams, side
// by side, and a layer computes on one of them, the active one. Before it all streams become what a
// small map predicts of them; behind it they are corrected by how far it took the active one from
// its prediction. The coefficients of both depend on the active stream: they are linear in its
// modes, tanh(router(norm(x)) / width).
// All stages of a layer but the last one are computed in between, on the active stream. The last
// one reads the corrected active stream, scaled element by element, and what it makes is added to
// all streams but the first (Gemma 3n).
struct AltUpSpec {
  int64_t streams = 0;  // at most ops::kStreamsMax
  int64_t active = 0;
  NormSpec router_norm;
};

// What one layer does to the streams. Rows: [rows, streams * width].
class AltUp {
 public:
  absl::Status load(const AltUpSpec& spec, int64_t width, Weights& weights);

  // Working memory for a step of so many rows.
  int64_t workspace_bytes(int64_t rows) const;
  Rows<float> active_of(const Rows<float>& streams) const {
    return columns(streams, spec_.active * width_, width_);
  }

  // Every lane calls these after a barrier, and they end with one. aside: [rows, width], the
  // prediction of the active stream.
  void predict(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams,
               Rows<float> aside) const;
  // `aside` becomes the scaled active stream.
  void correct(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams,
               Rows<float> aside) const;
  // Adds `aside` to all streams but the first.
  void spread(Lane& lane, const Ops& ops, Rows<const float> aside, Rows<float> streams) const;

 private:
  struct Workspace {
    Activations normed;  // [rows, width]
    Rows<float> modes;   // [rows, streams]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  // Of the active stream.
  Rows<float> modes_of(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams) const;

  AltUpSpec spec_;
  int64_t width_ = 0;
  ops::Norm router_norm_;
  Linear router_;                        // [streams, width]
  std::span<const float> predict_;       // [streams, streams, streams]
  std::span<const float> correct_;       // [streams, streams]
  std::span<const float> output_scale_;  // [width]
};

// How the streams begin and end. A stream but the first begins as a projection of the first, and
// ends as a projection of itself, each with the magnitude of the first stream then.
class AltUpEnds {
 public:
  absl::Status load(const AltUpSpec& spec, int64_t width, Weights& weights);

  int64_t streams() const { return others_ + 1; }
  int64_t workspace_bytes(int64_t rows) const;

  // Every lane calls these after a barrier, and they end with one. Makes the other streams of the
  // first.
  void begin(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams) const;
  // The first stream becomes the mean of all.
  void end(Lane& lane, const Ops& ops, std::byte* workspace, Rows<float> streams) const;

 private:
  struct Workspace {
    Activations first;      // [rows, width]
    Activations others;     // [rows, others * width]
    Rows<float> projected;  // the same
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  int64_t others_ = 0;  // streams but the first
  int64_t width_ = 0;
  ExpertLinear begins_, ends_;  // of each of the others [width, width]
};

}  // namespace millrace
