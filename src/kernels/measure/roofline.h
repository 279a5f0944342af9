#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "base/system/lanes.h"
#include "kernels/activations.h"
#include "kernels/isa.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace millrace {

// What a CPU can do at most with the instruction sequences of a tier's products, and its memory
// (Williams et al. 2009). A multiply-add is two operations.
struct Roofline {
  double int8 = 0;         // operations/s on codes of 4 and 5 bits
  double int8_halves = 0;  // on codes of 6 bits
  double int8_signed = 0;  // on codes of 8 bits
  double bf16 = 0;         // 0 where the tier has no such products
  double f32 = 0;
  double bandwidth = 0;  // bytes/s of reading memory, one ascending stream a lane on huge pages

  // Of products with weights of this format that read this form of activations.
  double peak_of(DType format, ActivationForms forms) const;
};

// Value by value.
Roofline median_of(std::span<const Roofline> measured);

// Measures a roofline on all lanes of a pool in about 80 ms, as often as asked: the speed of shared
// machines changes within minutes.
class RooflineProbe {
 public:
  // `lanes` outlives the probe. RESOURCE_EXHAUSTED when memory is short.
  static absl::StatusOr<RooflineProbe> create(Isa isa, LanePool& lanes);

  Roofline measure() const;

 private:
  RooflineProbe(Isa isa, LanePool& lanes, Buffer memory);
  double rate_of(int64_t (*loop)(int64_t rounds)) const;
  double bandwidth() const;

  const Kernels* kernels_;
  LanePool* lanes_;
  Buffer memory_;
};

}  // namespace millrace
