#include "kernels/isa.h"

#include <array>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/check.h"
#include "kernels/attention_kernels.h"
#include "kernels/kernels.h"

namespace millrace {
namespace {

constexpr std::array kIsas = {Isa::kScalar, Isa::kPortable8, Isa::kPortable16,
                              Isa::kAvx2,   Isa::kAvx512,    Isa::kAvx512Bf16};

struct Feature {
  std::string_view name;
  bool present;
};

#if defined(__x86_64__)

bool has_f16c() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// __builtin_cpu_supports also asks whether the operating system saves the wide registers.
std::vector<Feature> features_of(Isa isa) {
  if (isa < Isa::kAvx2) return {};
  std::vector<Feature> features = {{"AVX2", __builtin_cpu_supports("avx2") != 0},
                                   {"FMA", __builtin_cpu_supports("fma") != 0},
                                   {"F16C", has_f16c()}};
  if (isa >= Isa::kAvx512) {
    features.push_back({"AVX-512F", __builtin_cpu_supports("avx512f") != 0});
    features.push_back({"AVX-512BW", __builtin_cpu_supports("avx512bw") != 0});
    features.push_back({"AVX-512VL", __builtin_cpu_supports("avx512vl") != 0});
    features.push_back({"AVX-512DQ", __builtin_cpu_supports("avx512dq") != 0});
    features.push_back({"AVX-512VNNI", __builtin_cpu_supports("avx512vnni") != 0});
  }
  if (isa == Isa::kAvx512Bf16) {
    features.push_back({"AVX-512BF16", __builtin_cpu_supports("avx512bf16") != 0});
  }
  return features;
}

#endif

std::string missing_features(Isa isa) {
  std::string missing;
  for (const Feature& feature : features_of(isa)) {
    if (feature.present) continue;
    if (!missing.empty()) missing += ", ";
    missing += feature.name;
  }
  return missing;
}

Kernels with_bf16(Kernels kernels) {
  kernels.times_bf16 = kAvx512TimesBf16;
  kernels.attention = &kAvx512Bf16Attention;
  kernels.probes.bf16 = kAvx512ProbeBf16;
  return kernels;
}

}  // namespace

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kPortable8:
      return "portable8";
    case Isa::kPortable16:
      return "portable16";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
  }
  CHECK(false, "unknown instruction set {}", static_cast<int>(isa));
}

std::span<const Isa> all_isas() { return kIsas; }

bool is_supported(Isa isa) { return missing_features(isa).empty(); }

// The portable twins are for tests: without vector instructions they are slower than plain loops.
Isa best_isa() {
  for (const Isa isa : {Isa::kAvx512Bf16, Isa::kAvx512, Isa::kAvx2}) {
    if (is_supported(isa)) return isa;
  }
  return Isa::kScalar;
}

absl::StatusOr<Isa> isa_named(std::string_view name) {
  std::string names;
  for (const Isa isa : kIsas) {
    if (name_of(isa) == name) {
      if (const std::string missing = missing_features(isa); !missing.empty()) {
        return invalid_argument("this machine cannot run {}: it lacks {}", name, missing);
      }
      return isa;
    }
    names += names.empty() ? "" : ", ";
    names += name_of(isa);
  }
  return invalid_argument("unknown instruction set '{}' (known: {})", name, names);
}

const Kernels& kernels_for(Isa isa) {
  CHECK(is_supported(isa), "{} does not run here", name_of(isa));
  switch (isa) {
    case Isa::kScalar:
      return kScalarKernels;
    case Isa::kPortable8:
      return kPortable8Kernels;
    case Isa::kPortable16:
      return kPortable16Kernels;
    case Isa::kAvx2:
      return kAvx2Kernels;
    case Isa::kAvx512:
      return kAvx512Kernels;
    case Isa::kAvx512Bf16: {
      static const Kernels kernels = with_bf16(kAvx512Kernels);
      return kernels;
    }
  }
  CHECK(false, "unknown instruction set {}", static_cast<int>(isa));
}

}  // namespace millrace
