#pragma once

#include <cstdint>
#include <span>

#include "kernels/recurrent/recurrent_kernels.h"
#include "kernels/recurrent/state_rows.h"
#include "kernels/row_ops.h"
#include "tensor/view.h"

// What the operations of recurrent units (kernels/ops.h) take. A scan goes through the rows of a
// slice one after the other, so that its results do not depend on how a sequence was cut. Memory of
// a state behind what is said to lie there is the caller's.

namespace millrace::ops {

inline constexpr ElementFunction kSiluOfElements = {.kind = ElementFunction::Kind::kActivation};

// A convolution of each channel with itself: out[t] = function(bias + sum over j of weight[j] *
// in[t - kernel + 1 + j]), the sum from the bias on in ascending order. The state is the last
// kernel - 1 inputs, [kernel - 1, channels], the newest last.
struct CausalConv {
  std::span<const float> weight;     // [kernel, channels]
  std::span<const float> bias = {};  // [channels]; empty: none
  bool silu = false;                 // else no function

  static int64_t state_floats(int64_t kernel, int64_t channels) { return (kernel - 1) * channels; }
};

// How far a selective unit steps, and what is left of its state then: step = softplus(in + bias)
// within [smallest, largest]; decay = e^(rate * step).
struct TimeSteps {
  std::span<const float> bias = {};  // [width of the input]; empty: none
  std::span<const float> rates;      // below 0; [heads], each of width / heads neighbours
  float smallest = 0;
  float largest = 3.0e38F;
};

// A state S of [key_dim, value_dim] for each head. Each row takes its query q, key k, value v and
// decay d, which is one number for each head or for each of its keys:
//   kAdd        S = d S + k (s v)^T;                          out = S^T q
//   kDelta      S = d S; S = S + k (s (v - S^T k))^T;         out = S^T q
//   kReadFirst  out = (S + (u k) v^T)^T q, u the bonus;       S = d S + k v^T
//   kPair       S = d S + b (S^T a)^T + k v^T, S old in both; out = S^T q
// s: the strength, one number for each head and row. The keys' sums are in ascending order, each
// one accumulator. out is then times `scale`, plus skip * v. The state is [heads, key_dim,
// value_dim].
struct MatrixScan {
  enum class Rule : uint8_t { kAdd, kDelta, kReadFirst, kPair };
  // Which query and key a value's head reads where there are fewer of these.
  enum class Sharing : uint8_t {
    kNeighbours,  // head / (heads / key_heads)
    kInTurn,      // head % key_heads
  };
  Rule rule = Rule::kAdd;
  Sharing sharing = Sharing::kNeighbours;
  int64_t heads = 0;      // of values
  int64_t key_heads = 0;  // of queries and keys, divides heads
  int64_t key_dim = 0;    // at most kStateRowsMax
  int64_t value_dim = 0;
  int64_t key_step = 0;    // columns from a head's query or key to the next one's; 0: key_dim
  int64_t value_step = 0;  // the same of values
  float scale = 1;
  std::span<const float> bonus = {};  // [heads, key_dim], of kReadFirst
  std::span<const float> skip = {};   // [heads]; empty: none

  int64_t state_floats() const { return heads * key_dim * value_dim; }
};

// The rows that a matrix scan reads; a stride of 0 is one row for all.
struct MatrixScanRows {
  Rows<const float> queries;         // [rows, key_heads * key_dim]
  Rows<const float> keys;            // the same
  Rows<const float> values;          // [rows, heads * value_dim]
  Rows<const float> decays;          // [rows, heads] or [rows, heads * key_dim]
  Rows<const float> strengths = {};  // [rows, heads], of kAdd and kDelta; no data: 1
  Rows<const float> a = {};          // [rows, heads * key_dim], of kPair
  Rows<const float> b = {};          // the same
};

// Mamba's selective scan (Gu and Dao 2023): of each channel a state of state_dim numbers,
//   s[n] = e^(step * rates[n]) * s[n] + step * b[n] * in;   out = sum over n of c[n] * s[n] + skip
//   * in, step = softplus(steps + bias).
// The state is [state_dim, channels].
struct SelectiveScan {
  int64_t state_dim = 0;             // at most kStateRowsMax
  std::span<const float> rates;      // [state_dim, channels], below 0
  std::span<const float> bias = {};  // [channels]; empty: none
  std::span<const float> skip = {};  // [channels]; empty: none
};

struct SelectiveScanRows {
  Rows<const float> in;     // [rows, channels]
  Rows<const float> steps;  // [rows, channels]
  Rows<const float> b, c;   // [rows, state_dim]
};

}  // namespace millrace::ops
