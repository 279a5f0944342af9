#pragma once

#include <cstdint>

#include "kernels/row_ops.h"

// What recurrent units need of an instruction set. Included by files that are built for one; see
// kernels/kernels.h. What each computes is in kernels/recurrent/recurrent_ops.h.

namespace millrace {

inline constexpr int64_t kStateRowsMax = 1024;  // key_dim or state_dim
inline constexpr int64_t kConvKernelMax = 32;
inline constexpr int kStateColumns = 64;  // of a state that one call works on
inline constexpr int kConvColumns = 128;  // channels of a convolution that one call works on

// Neighbouring channels of one slice's rows.
struct ConvTile {
  const float* weight;  // [kernel, weight_stride]
  int64_t weight_stride;
  const float* bias;     // [columns]; null: none
  const float* history;  // [kernel - 1, kConvColumns], the inputs before the first row
  const float* in;
  int64_t in_stride;
  float* out;
  int64_t out_stride;
  int64_t kernel;
  int64_t rows;
  int columns;  // at most kConvColumns
  bool silu;
};

// Of one row; a factor or rate is of `share` neighbours.
struct TimeStepRow {
  const float* in;     // [heads * share]
  const float* bias;   // the same; null: none
  const float* rates;  // [heads]
  float smallest;
  float largest;
  int64_t heads;
  int64_t share;
  float* steps;   // null: not wanted
  float* decays;  // null: not wanted
};

// What rows read, one after the other `stride` apart.
struct ScanRows {
  const float* data;
  int64_t stride;
};

// Neighbouring columns of one head's state, and the rows that change it. The state's columns from
// `columns` on are memory.
struct MatrixTile {
  int64_t rows;
  int64_t key_dim;
  int columns;  // at most kStateColumns
  ScanRows queries;
  ScanRows keys;
  ScanRows values;       // [columns]
  ScanRows decays;       // [1] or [key_dim]
  bool decays_each_key;  // [key_dim]
  ScanRows strengths;    // [1]; null: 1
  ScanRows a;            // null but of the rule that takes them
  ScanRows b;
  const float* bonus;  // [key_dim]
  float scale;
  float skip;
  float* state;  // [key_dim, kStateColumns]
  float* out;    // [rows, out_stride], of which [columns] are set
  int64_t out_stride;
};

struct SelectiveTile {
  int64_t rows;
  int64_t state_dim;
  int columns;         // at most kStateColumns
  const float* rates;  // [state_dim, rates_stride]
  int64_t rates_stride;
  const float* bias;  // [columns]; null: none
  const float* skip;  // the same
  ScanRows in;        // [columns]
  ScanRows steps;     // [columns]
  ScanRows b;         // [state_dim]
  ScanRows c;
  float* state;  // [state_dim, kStateColumns]
  float* out;
  int64_t out_stride;
};

struct RecurrentKernels {
  void (*conv)(const ConvTile& tile);
  // out = in * function(gates), each gate of `share` neighbours; in null: 1. gates: [count]; in,
  // out: [count * share], may be the same, as may be the gates.
  void (*gate)(const ElementFunction& function, const float* in, const float* gates, int64_t count,
               int64_t share, float* out);
  void (*time_steps)(const TimeStepRow& row);
  void (*scan_add)(const MatrixTile& tile);
  void (*scan_delta)(const MatrixTile& tile);
  void (*scan_read_first)(const MatrixTile& tile);
  void (*scan_pair)(const MatrixTile& tile);
  void (*selective_scan)(const SelectiveTile& tile);
};

// Made in isa/NAME/recurrent.cc.
extern const RecurrentKernels kScalarRecurrent;
extern const RecurrentKernels kPortable8Recurrent;
extern const RecurrentKernels kPortable16Recurrent;
extern const RecurrentKernels kAvx2Recurrent;
extern const RecurrentKernels kAvx512Recurrent;

}  // namespace millrace
