#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// How rotary frequencies are stretched beyond the context that a model was trained with.
struct RopeScaling {
  enum class Kind : uint8_t { kNone, kLinear, kYarn };
  Kind kind = Kind::kNone;
  double factor = 1;
  // YaRN (Peng et al. 2023, section 3.4).
  double original_context = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  bool whole_pairs = true;  // the ramp begins and ends at a pair

  bool operator==(const RopeScaling&) const = default;
};

// Rotary embedding of some of the layers.
struct RopeSpec {
  ops::Rope::Pairs pairs = ops::Rope::Pairs::kNeighbours;
  int32_t rotated = 0;  // dimensions of a head
  double base = 10000;
  RopeScaling scaling;
  double magnitude = 1;      // multiplies cosine and sine
  std::string_view factors;  // a tensor of divisors, one a pair (Llama 3.1, LongRoPE); empty: none

  bool operator==(const RopeSpec&) const = default;
};

// YaRN's magnitude (Peng et al. 2023, equation 22) of a context stretched by `factor`.
double yarn_magnitude(double factor, double multiplier = 1);

// The angle by which each pair turns per position. factors: [rotated / 2] or empty.
std::vector<float> rope_frequencies(const RopeSpec& rope, std::span<const float> factors);

// The rotations of a step's rows by one rope.
struct RopeAngles {
  ops::Rope::Pairs pairs = ops::Rope::Pairs::kNeighbours;
  Rows<const float> angles;  // [rows, rotated]
};

inline constexpr size_t kRopesMax = 4;  // that one model has

// The ropes of a model: layers that agree share one, whose angles a step computes once.
class RopeTable {
 public:
  // The number of a rope that is equal to the spec, new or not: below kRopesMax.
  int32_t add(const RopeSpec& spec);
  // Takes the divisors; `weights` are those outside of the layers.
  absl::Status load(Weights& weights);
  // INVALID_ARGUMENT: a divisor is not positive. After load().
  absl::Status compute_frequencies();

  int64_t size() const { return std::ssize(entries_); }
  // As long as the table is; its frequencies are there after compute_frequencies().
  ops::Rope rope(int64_t number) const;

 private:
  struct Entry {
    RopeSpec spec;
    std::span<const float> factors;
    std::vector<float> frequencies;
  };
  std::vector<Entry> entries_;
};

}  // namespace millrace
