#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"

namespace millrace {

// The instruction-set tiers that the kernels are built for, worst first. The portable tiers are the
// vector algorithms on plain arrays: a twin of each width, so that an algorithm is tested on
// machines that lack its instructions.
enum class Isa { kScalar, kPortable8, kPortable16, kAvx2, kAvx512, kAvx512Bf16 };

// "scalar", "portable8", "portable16", "avx2", "avx512", "avx512bf16"
std::string_view name_of(Isa isa);
std::span<const Isa> all_isas();
bool is_supported(Isa isa);  // by this CPU and operating system
Isa best_isa();
absl::StatusOr<Isa> isa_named(std::string_view name);  // INVALID_ARGUMENT lists the names;
                                                       // unsupported ones say what is missing

struct Kernels;                       // one tier's table of inner loops (kernels/kernels.h)
const Kernels& kernels_for(Isa isa);  // isa must be supported

}  // namespace millrace
