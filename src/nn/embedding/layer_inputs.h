#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/ids.h"
#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/weight_stream.h"
#include "nn/workspace_layout.h"

namespace millrace {

// Per-layer embeddings (Gemma 3n): each layer gets, besides the stream, an input of its own of each
// token: a row of a table and a projection of the token's embedding, normed, over sqrt(2).
struct LayerInputsSpec {
  int64_t layers = 0;
  int64_t width = 0;  // of one layer's input; 0: there are none
  float table_scale = 1;
  NormSpec projection_norm = {};  // of each layer's part

  int64_t all_width() const { return layers * width; }
};

class LayerInputs {
 public:
  // vocab, stream: of the model.
  absl::Status load(const LayerInputsSpec& spec, int64_t vocab, int64_t stream, Weights& weights);

  int64_t all_width() const { return spec_.all_width(); }
  // Working memory for a step of so many rows.
  int64_t workspace_bytes(int64_t rows) const;
  // out: [rows, layers * width]; embedded: [rows, stream], the tokens' embeddings as the layers get
  // them. Every lane calls it after a barrier, and it ends with one.
  void forward(Lane& lane, const Ops& ops, std::span<const TokenId> tokens,
               Rows<const float> embedded, std::byte* workspace, Rows<float> out) const;

 private:
  struct Workspace {
    Activations in;         // [rows, stream]
    Rows<float> projected;  // [rows, layers * width]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  LayerInputsSpec spec_;
  int64_t stream_ = 0;
  Linear table_;       // [vocab, layers * width]
  Linear projection_;  // [layers * width, stream]
  std::optional<ops::Norm> norm_;
};

// What a layer makes of its input: projection(function(gate(x)) * input).
struct LayerInputSpec {
  int64_t width = 0;        // of the residual stream
  int64_t input_width = 0;  // of the layer's input
  int64_t layer = 0;        // whose it is
  ops::ActivationFunction function;

  KvSpec kv(DType) const { return {}; }
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

class LayerInput final : public Body {
 public:
  explicit LayerInput(const LayerInputSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return gate_.input_forms(); }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> gates;   // [rows, input_width]
    Activations hidden;  // the same of what the gates let through
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  LayerInputSpec spec_;
  Linear gate_;        // [input_width, width]
  Linear projection_;  // [width, input_width]
};

}  // namespace millrace
