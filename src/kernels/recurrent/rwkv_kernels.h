#pragma once

#include <cstdint>

// What RWKV and the RG-LRU need of an instruction set. Included by files that are built for one;
// see kernels/kernels.h.

namespace millrace {

struct RowForms;  // kernels/kernels.h

// Some neighbouring channels of neighbouring rows of one sequence; rows are `stride` floats apart.
template <typename T>
struct Channels {
  T* data = nullptr;
  int64_t stride = 0;
};

struct Wkv4Rows {
  int64_t rows = 0;
  int64_t count = 0;
  const float* decay = nullptr;
  const float* bonus = nullptr;
  Channels<const float> keys, values;
  Channels<float> out;
  float* numerators = nullptr;  // the state, changed
  float* denominators = nullptr;
  float* exponents = nullptr;
};

struct RgLruRows {
  int64_t rows = 0;
  int64_t count = 0;
  bool begins = false;  // the first row is at position 0
  const float* decay = nullptr;
  const float* input_bias = nullptr;
  const float* recurrence_bias = nullptr;
  Channels<const float> in, input_gates, recurrence_gates;
  Channels<float> out;
  float* state = nullptr;  // changed
};

// One head of one row (kernels/recurrent/rwkv_ops.h).
struct DeltaHead {
  int64_t count = 0;
  const float* removal_scale = nullptr;
  const float* key_mix = nullptr;
  float* keys = nullptr;
  float* rates = nullptr;
  float* decays = nullptr;
  float* removals = nullptr;
  float* values = nullptr;  // null: they are not mixed
  const float* value_shares = nullptr;
  const float* first_values = nullptr;
};

struct RwkvKernels {
  // base + (other - base) * (weights + added), in every form `out` has; added: null for zeros.
  void (*mix)(const float* base, const float* other, const float* weights, const float* added,
              int64_t count, const RowForms& out);
  void (*wkv4)(const Wkv4Rows& rows);
  void (*rg_lru)(const RgLruRows& rows);
  void (*delta_head)(const DeltaHead& head);
  // out += values * sum of weights * queries * keys.
  void (*add_bonus)(const float* weights, const float* queries, const float* keys,
                    const float* values, int64_t count, float* out);
};

// Elsewhere a tier's loops are in its kernels.cc.
extern const RwkvKernels kScalarRwkv;

}  // namespace millrace
