#include <algorithm>
#include <string>
#include <vector>

#include "models/arch/arch.h"

namespace millrace {

std::span<const Arch> all_archs() {
  static const std::vector<Arch> archs = [] {
    std::vector<Arch> all;
    for (const auto& family : {apertus_archs(),
                               bloom_archs(),
                               cohere_archs(),
                               deepseek_archs(),
                               exaone_archs(),
                               falcon_archs(),
                               gemma3n_archs(),
                               gemma4_archs(),
                               gemma_archs(),
                               glm_archs(),
                               gpt_archs(),
                               gpt_oss_archs(),
                               granite_archs(),
                               llama4_archs(),
                               known_griffin_archs(),
                               known_linear_attention_archs(),
                               known_retnet_archs(),
                               known_rwkv_archs(),
                               known_short_conv_archs(),
                               known_state_space_archs(),
                               llama_archs(),
                               nemotron_archs(),
                               olmo_archs(),
                               phi_archs(),
                               qwen_archs(),
                               stablelm_archs()}) {
      all.insert(all.end(), family.begin(), family.end());
    }
    std::ranges::sort(all, {}, &Arch::name);
    return all;
  }();
  return archs;
}

const Arch* find_arch(std::string_view name) {
  const std::span<const Arch> archs = all_archs();
  const auto found = std::ranges::find(archs, name, &Arch::name);
  return found == archs.end() ? nullptr : &*found;
}

std::string arch_names() {
  std::string names;
  for (const Arch& arch : all_archs()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", arch.name);
  }
  return names;
}

}  // namespace millrace
