#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

namespace millrace::ops {
namespace {

// Neighbouring columns of a state of rows of `width`, on the stack while a slice's rows change it.
class StateTile {
 public:
  StateTile(int64_t rows, int64_t width, int64_t first_column)
      : rows_(rows),
        width_(width),
        first_(first_column),
        columns_(static_cast<int>(std::min<int64_t>(kStateColumns, width - first_column))) {}

  int columns() const { return columns_; }
  float* data() { return data_; }

  // Calls run(first, rows) for stretches of the slice's rows, in order, and keeps the state where
  // the slice says. states: of this part, before the state's first row.
  template <typename Run>
  void go_through(const StateSlice& slice, const StateLayer& states, int64_t part, Run run) {
    if (slice.begins || columns_ < kStateColumns) std::fill_n(data_, rows_ * kStateColumns, 0.0F);
    if (!slice.begins) load(states.of(slice.unit) + part);
    int32_t done = 0;
    for (const SliceSave& save : slice.saves) {
      if (save.rows > done) run(done, save.rows - done);
      done = std::max(done, save.rows);
      store(states.of(save.unit) + part);
    }
    if (done < slice.rows) run(done, slice.rows - done);
    store(states.of(slice.unit) + part);
  }

 private:
  size_t bytes() const { return static_cast<size_t>(columns_) * sizeof(float); }
  void load(const float* from) {
    for (int64_t row = 0; row < rows_; ++row) {
      std::memcpy(data_ + row * kStateColumns, from + row * width_ + first_, bytes());
    }
  }
  void store(float* to) const {
    for (int64_t row = 0; row < rows_; ++row) {
      std::memcpy(to + row * width_ + first_, data_ + row * kStateColumns, bytes());
    }
  }

  int64_t rows_;
  int64_t width_;
  int64_t first_;
  int columns_;
  alignas(64) float data_[kStateRowsMax * kStateColumns];
};

int64_t tiles_of(int64_t width) { return (width + kStateColumns - 1) / kStateColumns; }

// From a row and a column on.
ScanRows rows_from(const Rows<const float>& rows, int64_t row, int64_t column) {
  if (rows.data == nullptr) return {nullptr, 0};
  return {rows.row(row) + column, rows.stride};
}

void check_matrix_scan(const MatrixScan& scan, const MatrixScanRows& in, const Rows<float>& out) {
  using enum MatrixScan::Rule;
  const int64_t all_keys = scan.heads * scan.key_dim;
  CHECK(scan.key_heads > 0 && scan.heads % scan.key_heads == 0, "{} heads share {} keys",
        scan.heads, scan.key_heads);
  CHECK(scan.key_dim > 0 && scan.key_dim <= kStateRowsMax, "keys of {}", scan.key_dim);
  CHECK(in.decays.width == scan.heads || in.decays.width == all_keys, "decays of {}",
        in.decays.width);
  CHECK(out.width == scan.heads * scan.value_dim, "an output of {}", out.width);
  CHECK(scan.rule != kReadFirst || std::ssize(scan.bonus) == all_keys);
  CHECK(scan.rule != kPair || (in.a.width == all_keys && in.b.width == all_keys));
  CHECK(scan.skip.empty() || std::ssize(scan.skip) == scan.heads);
  CHECK(in.strengths.data == nullptr || in.strengths.width == scan.heads);
}

// One head's part of what rows read.
class HeadRows {
 public:
  HeadRows(const MatrixScan& scan, const MatrixScanRows& in, Rows<float> out)
      : scan_(scan), in_(in), out_(out) {}

  MatrixTile tile(int64_t head, int64_t row, int64_t rows, int64_t first_column) const {
    const int64_t key_head = scan_.sharing == MatrixScan::Sharing::kInTurn
                                 ? head % scan_.key_heads
                                 : head / (scan_.heads / scan_.key_heads);
    const int64_t key = key_head * (scan_.key_step > 0 ? scan_.key_step : scan_.key_dim);
    const int64_t value = head * (scan_.value_step > 0 ? scan_.value_step : scan_.value_dim);
    const int64_t of_keys = head * scan_.key_dim;
    const bool each_key = in_.decays.width != scan_.heads;
    return {.rows = rows,
            .key_dim = scan_.key_dim,
            .columns = 0,
            .queries = rows_from(in_.queries, row, key),
            .keys = rows_from(in_.keys, row, key),
            .values = rows_from(in_.values, row, value + first_column),
            .decays = rows_from(in_.decays, row, each_key ? of_keys : head),
            .decays_each_key = each_key,
            .strengths = rows_from(in_.strengths, row, head),
            .a = rows_from(in_.a, row, of_keys),
            .b = rows_from(in_.b, row, of_keys),
            .bonus = scan_.bonus.empty() ? nullptr : scan_.bonus.data() + of_keys,
            .scale = scan_.scale,
            .skip = scan_.skip.empty() ? 0 : scan_.skip[static_cast<size_t>(head)],
            .state = nullptr,
            .out = out_.row(row) + head * scan_.value_dim + first_column,
            .out_stride = out_.stride};
  }

 private:
  const MatrixScan& scan_;
  const MatrixScanRows& in_;
  Rows<float> out_;
};

auto loop_of(const RecurrentKernels& kernels, MatrixScan::Rule rule) {
  switch (rule) {
    case MatrixScan::Rule::kAdd:
      return kernels.scan_add;
    case MatrixScan::Rule::kDelta:
      return kernels.scan_delta;
    case MatrixScan::Rule::kReadFirst:
      return kernels.scan_read_first;
    case MatrixScan::Rule::kPair:
      return kernels.scan_pair;
  }
  CHECK(false, "unknown rule {}", static_cast<int>(rule));
}

}  // namespace

void CpuOps::matrix_scan(Lane& lane, const StateRows& rows, const StateLayer& states,
                         const MatrixScan& scan, const MatrixScanRows& in, Rows<float> out) const {
  check_matrix_scan(scan, in, out);
  const auto loop = loop_of(*kernels_.recurrent, scan.rule);
  const HeadRows heads(scan, in, out);
  const int64_t tiles = tiles_of(scan.value_dim);
  const int64_t of_slice = scan.heads * tiles;
  lane.for_each_piece(std::ssize(rows.slices) * of_slice, 1, [&](WorkRange piece) {
    for (int64_t item = piece.begin; item < piece.end; ++item) {
      const StateSlice& slice = rows.slices[static_cast<size_t>(item / of_slice)];
      const int64_t head = item % of_slice / tiles;
      const int64_t first = item % tiles * kStateColumns;
      StateTile state(scan.key_dim, scan.value_dim, first);
      const int64_t part = head * scan.key_dim * scan.value_dim;
      state.go_through(slice, states, part, [&](int64_t row, int64_t count) {
        MatrixTile tile = heads.tile(head, slice.row + row, count, first);
        tile.columns = state.columns();
        tile.state = state.data();
        loop(tile);
      });
    }
  });
}

void CpuOps::selective_scan(Lane& lane, const StateRows& rows, const StateLayer& states,
                            const SelectiveScan& scan, const SelectiveScanRows& in,
                            Rows<float> out) const {
  const int64_t channels = out.width;
  CHECK(scan.state_dim > 0 && scan.state_dim <= kStateRowsMax, "states of {}", scan.state_dim);
  CHECK(std::ssize(scan.rates) == scan.state_dim * channels, "{} rates for {} channels",
        scan.rates.size(), channels);
  CHECK(scan.bias.empty() || std::ssize(scan.bias) == channels);
  CHECK(scan.skip.empty() || std::ssize(scan.skip) == channels);
  const int64_t tiles = tiles_of(channels);
  lane.for_each_piece(std::ssize(rows.slices) * tiles, 1, [&](WorkRange piece) {
    for (int64_t item = piece.begin; item < piece.end; ++item) {
      const StateSlice& slice = rows.slices[static_cast<size_t>(item / tiles)];
      const int64_t first = item % tiles * kStateColumns;
      StateTile state(scan.state_dim, channels, first);
      state.go_through(slice, states, 0, [&](int64_t begin, int64_t count) {
        const int64_t row = slice.row + begin;
        kernels_.recurrent->selective_scan(
            {.rows = count,
             .state_dim = scan.state_dim,
             .columns = state.columns(),
             .rates = scan.rates.data() + first,
             .rates_stride = channels,
             .bias = scan.bias.empty() ? nullptr : scan.bias.data() + first,
             .skip = scan.skip.empty() ? nullptr : scan.skip.data() + first,
             .in = rows_from(in.in, row, first),
             .steps = rows_from(in.steps, row, first),
             .b = rows_from(in.b, row, 0),
             .c = rows_from(in.c, row, 0),
             .state = state.data(),
             .out = out.row(row) + first,
             .out_stride = out.stride});
      });
    }
  });
}

}  // namespace millrace::ops
