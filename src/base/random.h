#pragma once

#include <array>
#include <cstdint>

namespace millrace {

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
// section 3.4): a pure function of key and counter, so a draw depends on what it is for and never
// on how many came before it.
std::array<uint32_t, 4> philox(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter);

// Uniform in [0, 1) with 24 bits, the same on every machine.
float uniform_float(uint32_t bits);
// Uniform in [0, 1) with 53 bits, the high word's first.
double uniform_double(uint32_t high, uint32_t low);

// The uniform number in [0, 1), of 53 bits, that decides the token at `position` of choice `choice`
// under `seed`.
double sampling_uniform(uint64_t seed, int32_t choice, int32_t position);

}  // namespace millrace
