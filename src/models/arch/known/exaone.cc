#include "models/arch/arch.h"

namespace millrace {

// EXAONE 4 (LG AI Research 2025): norms behind its bodies only; the large one has windows in three
// of four layers, and no rotation in the fourth.
std::span<const Arch> exaone_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "exaone4",
       .models = "EXAONE 4",
       .traits = {.rotates_windowed_only = true, .window_period = 4}},
  };
  return kArchs;
}

}  // namespace millrace
