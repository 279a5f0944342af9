#pragma once

#include <cstdint>
#include <span>

// What the operations on rows (kernels/ops.h) take. Included by files that are built for one
// instruction set; see kernels/kernels.h.

namespace millrace {

class PackedMatrix;

// sigmoid(x) = 1 / (1 + e^-x).
struct ActivationFunction {
  enum class Kind : uint8_t {
    kSilu,           // x * sigmoid(x)
    kGelu,           // x * (1 + erf(x / sqrt(2))) / 2 (Hendrycks and Gimpel 2016)
    kGeluTanh,       // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2
    kGeluQuick,      // x * sigmoid(1.702 * x)
    kRelu,           // max(x, 0)
    kReluSquared,    // max(x, 0)^2
    kClampedSwiglu,  // of a gate g and u (gpt-oss): g * sigmoid(alpha * g) * (u + 1), with g at
                     // most `limit` and u within [-limit, limit]
    kXielu,          // x > 0: positive * x^2 + beta * x (Huang and Schlag 2024); else
                     // (negative + beta) * (e^min(x, epsilon) - 1 - x) + beta * x
  };
  Kind kind = Kind::kSilu;
  float alpha = 0;
  float limit = 0;
  float positive = 0;
  float negative = 0;
  float beta = 0;
  float epsilon = 0;
};

// A function of one number.
struct ElementFunction {
  enum class Kind : uint8_t {
    kIdentity,
    kSigmoid,
    kTanh,
    kEluPlusOne,      // x > 0: x + 1; else e^x (Katharopoulos et al. 2020)
    kReciprocal,      // 1 / x
    kReciprocalRoot,  // 1 / sqrt(x)
    kOneMinus,        // 1 - x
    kDecay,           // e^(-e^x) (Peng et al. 2024, section 4)
    kActivation,      // any but kClampedSwiglu, which is of two numbers
  };
  Kind kind = Kind::kIdentity;
  ActivationFunction activation = {};
};

}  // namespace millrace

namespace millrace::ops {

using millrace::ActivationFunction;
using millrace::ElementFunction;

// Of a row: RMSNorm (Zhang and Sennrich 2019), x / sqrt(mean(x^2) + epsilon), or LayerNorm (Ba et
// al. 2016), the same of x - mean(x); times the weight, plus the bias.
struct Norm {
  enum class Kind : uint8_t { kRms, kLayer };
  Kind kind = Kind::kRms;
  std::span<const float> weight = {};  // [width]; empty: all 1
  std::span<const float> bias = {};    // [width]; empty: none
  float epsilon = 0;
};

// The hidden layer of a feed-forward network: function(gate) * up (Shazeer 2020), or without a gate
// function(up).
struct Hidden {
  const PackedMatrix* gate = nullptr;     // [hidden, width]; null: none
  const PackedMatrix* up = nullptr;       // [hidden, width]
  std::span<const float> gate_bias = {};  // [hidden]; empty: none
  std::span<const float> up_bias = {};    // [hidden]; empty: none
  ActivationFunction function = {};
};

// How alternating updates (nn/residual/altup.h) mix the streams that a row is, side by side and
// equally wide: each coefficient is a sum over the row's modes, of which there are as many as
// streams.
struct StreamUpdate {
  std::span<const float> weights;  // [coefficients, modes]
  int64_t active = 0;              // the stream that the layer works on
};

inline constexpr int64_t kStreamsMax = 16;

}  // namespace millrace::ops
