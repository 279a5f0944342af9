#include "models/arch/gemma_keys.h"

#include <cmath>
#include <span>

namespace millrace {
namespace {

absl::Status share_cache(int64_t layer, int64_t first_shared, const std::vector<bool>& windowed,
                         ModelSpec& model) {
  const auto kind = [&](int64_t i) { return windowed[static_cast<size_t>(i)]; };
  int64_t source = first_shared - 1;
  while (source >= 0 && kind(source) != kind(layer)) --source;
  if (source < 0) {
    return invalid_argument(
        "layer {} reads the keys and values of an earlier layer with {} window, but there is none",
        layer, kind(layer) ? "a" : "no");
  }
  AttentionSpec& own = attention_of_layer(model, layer);
  const AttentionSpec& other = attention_of_layer(model, source);
  if (own.kv_heads != other.kv_heads) {
    return invalid_argument("layer {} has {} key heads, but reads those of layer {}, which has {}",
                            layer, own.kv_heads, source, other.kv_heads);
  }
  own.shared = 0;
  for_each_body(std::span(model.layers).first(static_cast<size_t>(source)),
                [&](const BodySpec&) { ++own.shared; });
  for (const char* name :
       {"attn_k.weight", "attn_k.bias", "attn_v.weight", "attn_v.bias", "attn_k_norm.weight"}) {
    model.unused.push_back(fmt::format("blk.{}.{}", layer, name));
  }
  return absl::OkStatus();
}

}  // namespace

NormSpec model_rms_norm(const ModelSpec& model, std::string_view name) {
  return {.kind = NormSpec::Kind::kRms, .name = name, .epsilon = model.output_norm.epsilon};
}

AttentionSpec& attention_of_layer(ModelSpec& model, int64_t layer) {
  return std::get<AttentionSpec>(model.layers[static_cast<size_t>(layer)].stages[0][0].body);
}

void set_gemma_attention(const ArchReader& keys, ModelSpec& model, AttentionSpec& attention) {
  if (!keys.has("attention.scale")) attention.scale = 1;
  attention.norms.scope = QueryKeyNormSpec::Scope::kHeads;
  attention.value_norm = model_rms_norm(model, "");
  attention.value_norm.has_weight = false;
}

void add_layer_inputs(int64_t width, KeptStream kept, ModelSpec& model) {
  model.layer_inputs = {.layers = std::ssize(model.layers),
                        .width = width,
                        .table_scale = std::sqrt(static_cast<float>(width)),
                        .projection_norm = model_rms_norm(model, "per_layer_proj_norm")};
  int64_t number = 0;
  for (LayerSpec& layer : model.layers) {
    const LayerInputSpec body = {.width = model.width,
                                 .input_width = width,
                                 .layer = number++,
                                 .function = {.kind = ops::ActivationFunction::Kind::kGeluTanh}};
    layer.stages.push_back({{.pre_norm = {},
                             .body = body,
                             .post_norm = model_rms_norm(model, "post_norm"),
                             .kept = kept}});
  }
}

absl::Status share_caches(int64_t shared, const std::vector<bool>& windowed, ModelSpec& model) {
  const auto layers = std::ssize(model.layers);
  for (int64_t layer = layers - shared; layer < layers; ++layer) {
    RETURN_IF_ERROR(share_cache(layer, layers - shared, windowed, model));
  }
  return absl::OkStatus();
}

}  // namespace millrace
