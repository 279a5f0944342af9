#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/spec.h"

namespace millrace {

// How a mixture's router scores experts, where keys do not say it.
struct MoeTraits {
  ops::Routing::Score score = ops::Routing::Score::kSoftmax;
  bool after_choice = false;
  bool renormalise = true;
  float threshold = 0;  // as ops::Routing's
  bool weighs_inputs = false;
  bool gated = true;
};

// What one layer is made of, where layers differ.
struct LayerParts {
  bool attention = true;              // as the usual keys and tensors say
  std::vector<BodySpec> mixers = {};  // beside attention or in its place, behind the same norm
  bool network = true;                // a feed-forward network or a mixture, as the tensors say
};

// What an architecture fixes and its files do not say. The rest is read: sizes and scales from
// keys, and from the tensors that there are which norms and biases a layer has, whether it is
// gated, and what is fused.
struct DecoderTraits {
  NormSpec::Kind norm = NormSpec::Kind::kRms;
  // Norms of queries and keys, where there are tensors for them.
  NormSpec::Kind head_norm = NormSpec::Kind::kRms;
  bool head_norm_after_rotation = false;
  bool head_norm_of_each = false;  // of many weights: each head has its own, not all heads one norm
  bool gated_queries = false;      // AttentionSpec::Gate::kElements

  bool rope = true;
  ops::Rope::Pairs pairs = ops::Rope::Pairs::kHalves;
  // Which layers rotate: those with a window where the file says how long it is (Cohere 2,
  // EXAONE 4), all but every n-th (SmolLM 3), or all.
  bool rotates_windowed_only = false;
  int32_t unrotated_period = 0;
  // Of layers with a window: a rope of their own with this base unless a key says another, without
  // scaling; 0: with the base of the others; negative: the rope of the others.
  double local_rope_base = -1;

  // Every n-th layer has no window, unless a key says otherwise; 0: every layer has one; negative:
  // windows are refused.
  int32_t window_period = -1;
  int64_t window = 0;  // where no key says one; 0: none

  ops::ActivationFunction::Kind function = ops::ActivationFunction::Kind::kSilu;
  std::optional<MoeTraits> moe =
      std::nullopt;       // of layers that have a router; none: routers are refused
  bool parallel = false;  // attention and feed-forward network read the same stream
  std::string_view attention_norm = "attn_norm";
  std::string_view ffn_norm = "ffn_norm";
  std::string_view output_norm = "output_norm";
  bool logit_scale_divides = false;
  std::string_view layout = "";  // a value of "tensor_data_layout" that the tensors here have
  // Of each layer, in their order; null: attention and a network. The model has everything but its
  // layers by then.
  absl::StatusOr<LayerParts> (*parts)(ArchReader& keys, const ModelSpec& model,
                                      int64_t layer) = nullptr;
};

// A decoder of attention, or what stands in its place, and feed-forward networks.
absl::StatusOr<ModelSpec> read_decoder(ArchReader& keys, const DecoderTraits& traits);

// Everything but the layers, for architectures that are no such decoder.
absl::StatusOr<ModelSpec> read_outside_of_layers(ArchReader& keys, const DecoderTraits& traits);

// Takes the layers behind the last one away, which predict tokens further ahead for drafts: nothing
// reads their tensors. An architecture whose files may have them calls it behind read_decoder().
absl::Status drop_predictors(ArchReader& keys, ModelSpec& model);

// Visits the specs of attention, and of feed-forward networks, in the order of the layers.
template <typename Spec, typename Visit>
void for_each(ModelSpec& model, Visit visit) {
  for (LayerSpec& layer : model.layers) {
    for (StageSpec& stage : layer.stages) {
      for (BranchSpec& branch : stage) {
        if (auto* spec = std::get_if<Spec>(&branch.body)) visit(*spec);
      }
    }
  }
}

}  // namespace millrace
