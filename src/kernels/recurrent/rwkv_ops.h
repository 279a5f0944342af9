#pragma once

#include <cstdint>
#include <span>

#include "tensor/view.h"

// What the operations of RWKV and of the RG-LRU (kernels/ops.h) take.

namespace millrace::ops {

// Token shift: mixes each row x with the row p before it in its sequence, zeros before the first
// (Peng et al. 2023, section 3.1). Output i is x + (p - x) * (weights_i + added_i) or, where the
// weights are the row's own share, p + (x - p) * (weights_i + added_i).
struct TokenShift {
  std::span<const float> weights;  // [outputs, width]
  bool own_share = false;
  Rows<const float> added = {};  // [rows, outputs * width]; width 0: none
  // The state becomes the last rows; false: it stays, for another shift of the same rows.
  bool advances = true;
};

// RWKV 4's weighted average of values (Peng et al. 2023, equations 16 and 19): for each channel
//   out_t = (sum_i e^(-(t - 1 - i) decay + k_i) v_i + e^(bonus + k_t) v_t) / (the same without v)
// with i below t. The state is the two sums over e^m and m, the largest exponent.
struct Wkv4 {
  std::span<const float> decay;  // [width], above 0
  std::span<const float> bonus;  // [width]

  static constexpr int64_t kParts = 3;  // of the state
};

// Real-gated linear recurrent unit (De et al. 2024, section 2.4): with r and i the sigmoids of the
// gates, a = e^(-decay * r), h_t = a h_(t-1) + sqrt(1 - a^2) i x, and h = i x at position 0.
struct RgLru {
  std::span<const float> decay;            // [width], 8 softplus(Lambda)
  std::span<const float> input_bias;       // [width] of the input gates
  std::span<const float> recurrence_bias;  // [width] of the recurrence gates
};

// What RWKV 7's state takes of a row's products (Peng et al. 2025, section 4.1), for each head:
// with u = key * removal_scale over its length and a = sigmoid(rate)
//   decay = e^(-e^(-1/2) sigmoid(decay)), key = key * (1 + (a - 1) * key_mix), removal = -u,
//   rate = u * a, value = value + (first_value - value) * sigmoid(value_share).
struct DeltaInputs {
  int64_t heads = 0;
  std::span<const float> removal_scale;  // [width]
  std::span<const float> key_mix;        // [width]
};

// Each [rows, width]; all but removals are changed.
struct DeltaRows {
  Rows<float> keys, rates, decays, removals;
  Rows<float> values = {};  // where they are mixed, as what follows; else width 0
  Rows<const float> value_shares = {};
  Rows<const float> first_values = {};
};

// RWKV 7's direct way from a row to its own output (Peng et al. 2025, section 4.1): v times the sum
// of weights * q * k is added to each head's output.
struct HeadBonus {
  int64_t heads = 0;
  std::span<const float> weights;  // [width]
};

}  // namespace millrace::ops
