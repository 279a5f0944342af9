#include "apps/commands/bench/published_shapes.h"

namespace millrace {
namespace {

struct Published {
  std::string_view name, architecture;
  int64_t layers, width, hidden, heads, kv_heads, head_dim, vocab, context;
  bool tied_embeddings;
  int64_t experts = 0;
  int64_t chosen = 0;
  int64_t window = 0;
  int64_t state_dim = 0;
  int64_t state_head_dim = 0;
  int64_t attention_period = 0;
  int64_t latent_dim = 0;
  int64_t rotated_dim = 0;
};

constexpr Published kPublished[] = {
    // DeepSeek-V2-Lite's first layer, which has no experts, over and over.
    {.name = "deepseek-v2-lite-dense",
     .architecture = "deepseek2",
     .layers = 27,
     .width = 2048,
     .hidden = 10944,
     .heads = 16,
     .kv_heads = 1,
     .head_dim = 128,
     .vocab = 102400,
     .context = 163840,
     .tied_embeddings = false,
     .latent_dim = 512,
     .rotated_dim = 64},
    {"granite-3.1-1b-a400m", "granitemoe", 24, 1024, 512, 16, 8, 64, 49155, 131072, true, 32, 8},
    {.name = "granite-4.0-h-micro",
     .architecture = "granitehybrid",
     .layers = 40,
     .width = 2048,
     .hidden = 8192,
     .heads = 32,
     .kv_heads = 8,
     .head_dim = 64,
     .vocab = 100352,
     .context = 131072,
     .tied_embeddings = true,
     .state_dim = 128,
     .state_head_dim = 64,
     .attention_period = 10},
    {"llama-3.1-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false},
    {"llama-3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, true},
    {"llama-3.2-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, 131072, true},
    {.name = "mamba2-1.3b",
     .architecture = "mamba2",
     .layers = 48,
     .width = 2048,
     .hidden = 0,
     .heads = 0,
     .kv_heads = 0,
     .head_dim = 0,
     .vocab = 50288,
     .context = 1048576,
     .tied_embeddings = true,
     .state_dim = 128,
     .state_head_dim = 64},
    {"mistral-7b-v0.1", "llama", 32, 4096, 14336, 32, 8, 128, 32000, 32768, false, 0, 0, 4096},
    {"mistral-7b-v0.3", "llama", 32, 4096, 14336, 32, 8, 128, 32768, 32768, false},
    {"olmoe-1b-7b", "olmoe", 16, 2048, 1024, 16, 16, 128, 50304, 4096, false, 64, 8},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 32768, true},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 32768, true},
    {"qwen2.5-3b", "qwen2", 36, 2048, 11008, 16, 2, 128, 151936, 32768, true},
    {"qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, 32768, false},
    {"qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, 40960, true},
    {"qwen3-1.7b", "qwen3", 28, 2048, 6144, 16, 8, 128, 151936, 40960, true},
    {"qwen3-4b", "qwen3", 36, 2560, 9728, 32, 8, 128, 151936, 40960, true},
    {"qwen3-8b", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, 40960, false},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 768, 32, 4, 128, 151936, 40960, false, 128, 8},
    {"smollm2-135m", "llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, true},
    {"smollm2-360m", "llama", 32, 960, 2560, 15, 5, 64, 49152, 8192, true},
    {"smollm2-1.7b", "llama", 24, 2048, 8192, 32, 32, 64, 49152, 8192, true},
    {"tinyllama-1.1b", "llama", 22, 2048, 5632, 32, 4, 64, 32000, 2048, false},
};

}  // namespace

std::optional<RandomModelShape> published_shape(std::string_view name) {
  for (const Published& known : kPublished) {
    if (known.name != name) continue;
    RandomModelShape shape;
    shape.architecture = known.architecture;
    shape.layers = known.layers;
    shape.width = known.width;
    shape.hidden = known.hidden;
    shape.heads = known.heads;
    shape.kv_heads = known.kv_heads;
    shape.head_dim = known.head_dim;
    shape.vocab = known.vocab;
    shape.context = known.context;
    shape.tied_embeddings = known.tied_embeddings;
    shape.experts = known.experts;
    shape.chosen = known.chosen;
    shape.window = known.window;
    shape.state_dim = known.state_dim;
    shape.state_head_dim = known.state_head_dim;
    shape.attention_period = known.attention_period;
    shape.latent_dim = known.latent_dim;
    shape.rotated_dim = known.rotated_dim;
    return shape;
  }
  return std::nullopt;
}

std::string published_shape_names() {
  std::string names;
  for (const Published& known : kPublished) {
    names += names.empty() ? "" : ", ";
    names += known.name;
  }
  return names;
}

}  // namespace millrace
