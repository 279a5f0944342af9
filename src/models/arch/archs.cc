#include "models/arch/arch.h"

namespace millrace {

std::span<const Arch> all_archs() {
  static constexpr Arch kArchs[] = {
      {"llama", read_llama},
      {"qwen2", read_qwen2},
      {"qwen3", read_qwen3},
  };
  return kArchs;
}

}  // namespace millrace
