#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/arch/decoder.h"
#include "models/spec.h"

namespace millrace {

// An architecture: how metadata becomes a spec. To add one, write its entry into the file of its
// family in known/, or a new file there.
struct Arch {
  std::string_view name;    // general.architecture
  std::string_view models;  // some that have it, for people
  DecoderTraits traits = {};
  // Of an architecture that is no decoder as read_decoder() reads them; null: it is one.
  absl::StatusOr<ModelSpec> (*read)(ArchReader& keys) = nullptr;
  // Reads what only this architecture has; null: nothing.
  absl::Status (*adjust)(ArchReader& keys, ModelSpec& model) = nullptr;
};

// In the order of their names.
std::span<const Arch> all_archs();
// Null: no architecture has this name.
const Arch* find_arch(std::string_view name);
// "bloom, cohere2, ..."
std::string arch_names();

// Of the files in known/.
std::span<const Arch> apertus_archs();
std::span<const Arch> bloom_archs();
std::span<const Arch> cohere_archs();
std::span<const Arch> deepseek_archs();
std::span<const Arch> exaone_archs();
std::span<const Arch> falcon_archs();
std::span<const Arch> gemma3n_archs();
std::span<const Arch> gemma4_archs();
std::span<const Arch> gemma_archs();
std::span<const Arch> glm_archs();
std::span<const Arch> gpt_archs();
std::span<const Arch> gpt_oss_archs();
std::span<const Arch> granite_archs();
std::span<const Arch> llama4_archs();
std::span<const Arch> llama_archs();
std::span<const Arch> nemotron_archs();
std::span<const Arch> olmo_archs();
std::span<const Arch> phi_archs();
std::span<const Arch> qwen_archs();
std::span<const Arch> stablelm_archs();
// Of those in known/recurrent/.
std::span<const Arch> known_griffin_archs();
std::span<const Arch> known_linear_attention_archs();
std::span<const Arch> known_retnet_archs();
std::span<const Arch> known_rwkv_archs();
std::span<const Arch> known_short_conv_archs();
std::span<const Arch> known_state_space_archs();
// Of Granite: without rope where its files say so.
absl::Status adjust_granite(ArchReader& keys, ModelSpec& model);

}  // namespace millrace
