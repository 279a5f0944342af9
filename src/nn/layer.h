#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "nn/attention/attention.h"
#include "nn/attention/latent.h"
#include "nn/body.h"
#include "nn/embedding/layer_inputs.h"
#include "nn/ffn/ffn.h"
#include "nn/ffn/sparse_ffn.h"
#include "nn/moe.h"
#include "nn/norm.h"
#include "nn/recurrent/delta_net.h"
#include "nn/recurrent/linear_attention.h"
#include "nn/recurrent/mamba.h"
#include "nn/recurrent/mamba2.h"
#include "nn/recurrent/rg_lru.h"
#include "nn/recurrent/rwkv/channel_mix.h"
#include "nn/recurrent/rwkv/rwkv4.h"
#include "nn/recurrent/rwkv/rwkv6.h"
#include "nn/recurrent/rwkv/rwkv7.h"
#include "nn/recurrent/short_conv.h"
#include "nn/residual/laurel.h"
#include "nn/workspace_layout.h"

namespace millrace {

using BodySpec =
    std::variant<AttentionSpec, LatentSpec, FfnSpec, SparseFfnSpec, MoeSpec, LaurelSpec,
                 LayerInputSpec, MambaSpec, Mamba2Spec, DeltaNetSpec, LinearAttentionSpec,
                 ShortConvSpec, Rwkv4Spec, Rwkv6Spec, Rwkv7Spec, ChannelMixSpec, RgLruSpec>;

// What a stage keeps of the stream, to which its branches add: factor * x, or factor * pre_norm(x)
// (MiniMax), where its branch is alone.
struct KeptStream {
  float factor = 1;
  bool normed = false;
};

// One residual branch: x += scale * post_norm(body(pre_norm(x))).
struct BranchSpec {
  NormSpec pre_norm;
  BodySpec body;
  NormSpec post_norm;
  float scale = 1;
  KeptStream kept = {};  // by the stage that this is the first branch of
};

// Branches that all read the stream as it was before the first of them: one, or those that an
// architecture runs in parallel. Equal pre-norms are computed once.
using StageSpec = std::vector<BranchSpec>;
inline constexpr size_t kStageBranchesMax = 4;

struct LayerSpec {
  std::vector<StageSpec> stages;  // one after the other
  bool output_scale = false;      // a number that multiplies the stream behind the last of them
};

KvSpec kv_spec(const BodySpec& body, DType cache);

// Calls visit(body) for the body of each branch, in the order in which they run.
template <typename Layers, typename Visit>
void for_each_body(const Layers& layers, Visit visit) {
  for (const auto& layer : layers) {
    for (const auto& stage : layer.stages) {
      for (const BranchSpec& branch : stage) visit(branch.body);
    }
  }
}

// A stage with its weights: its norms, the bodies between them, and the sums. Where one model's
// rows are computed by several processes, their parts of a body's output will be summed here.
class Stage {
 public:
  Stage(const StageSpec& spec, int64_t width, RopeTable& ropes);

  absl::Status load(Weights& weights);
  int64_t branches() const { return std::ssize(branches_); }
  // Working memory for a step of so many rows.
  int64_t workspace_bytes(int64_t rows) const;
  int64_t step_width() const;
  int64_t carried_bytes(std::span<const KvPlace> places, int lanes) const;
  // residual: [rows, width]; places: [branches], context.place is of none of them. Every lane calls
  // it after a barrier, and it ends with one.
  void forward(Lane& lane, const BodyContext& context, std::span<const KvPlace> places,
               Rows<float> residual) const;

 private:
  // What one or more branches read.
  struct Input {
    NormSpec spec;
    std::optional<ops::Norm> norm;
    ActivationForms forms;
  };
  struct Branch {
    std::unique_ptr<Body> body;
    size_t input;
    NormSpec post_spec;
    std::optional<ops::Norm> post_norm;
    float scale;

    // Its body adds to the stream itself.
    bool is_plain() const { return !post_norm && scale == 1; }
  };
  struct Workspace {
    std::array<Activations, kStageBranchesMax> inputs;  // [inputs] of [rows, width]
    Rows<float> sum;  // [rows, width] a body's output on its way to the stream
    std::byte* rest;  // the bodies use it one after the other
  };
  size_t input_of(const NormSpec& norm);
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  void keep(Lane& lane, const Ops& ops, Rows<float> residual) const;

  int64_t width_;
  KeptStream kept_;
  std::vector<Input> inputs_;
  std::vector<Branch> branches_;
};

}  // namespace millrace
