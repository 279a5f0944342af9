#include <algorithm>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
namespace {

// Channels that one piece goes through: whole blocks of every form.
constexpr int64_t kTile = 256;

// Calls run(slice, first, count) for each slice and each tile of its channels, in pieces.
template <typename Run>
void for_each_tile(Lane& lane, const StateRows& rows, int64_t width, Run run) {
  const int64_t tiles = (width + kTile - 1) / kTile;
  lane.for_each_piece(std::ssize(rows.slices) * tiles, 1, [&](WorkRange pieces) {
    for (int64_t i = pieces.begin; i < pieces.end; ++i) {
      const int64_t first = i % tiles * kTile;
      run(rows.slices[static_cast<size_t>(i / tiles)], first, std::min(kTile, width - first));
    }
  });
}

// Calls run(row, rows, save) for each stretch of rows between two saves; save is null behind the
// last one.
template <typename Run>
void for_each_stretch(const StateSlice& slice, Run run) {
  int32_t done = 0;
  for (const SliceSave& save : slice.saves) {
    run(slice.row + done, save.rows - done, &save);
    done = save.rows;
  }
  if (done < slice.rows) run(slice.row + done, slice.rows - done, nullptr);
}

int64_t whole_vectors(int64_t floats) { return (floats + 15) / 16 * 16; }

template <typename T>
Channels<T> channels_of(Rows<T> rows, int64_t row, int64_t first) {
  return {rows.row(row) + first, rows.stride};
}

// One tile of one slice.
class ShiftedTile {
 public:
  ShiftedTile(const Kernels& kernels, const TokenShift& shift, Rows<const float> in, int64_t first,
              int64_t count)
      : kernels_(*kernels.rwkv), shift_(shift), in_(in), first_(first), count_(count) {}

  void operator()(int64_t row, const float* previous, std::span<const Activations> outs) const {
    const float* own = in_.row(row) + first_;
    const float* base = shift_.own_share ? previous : own;
    const float* other = shift_.own_share ? own : previous;
    const RowGroup group = row_group_at(in_.rows, row / kGroupRows);
    for (size_t i = 0; i < outs.size(); ++i) {
      const int64_t column = static_cast<int64_t>(i) * in_.width + first_;
      const float* added = shift_.added.width == 0 ? nullptr : shift_.added.row(row) + column;
      kernels_.mix(base, other, shift_.weights.data() + column, added, count_,
                   forms_of_stretch(outs[i], group, row - group.first, first_));
    }
  }

 private:
  const RwkvKernels& kernels_;
  const TokenShift& shift_;
  Rows<const float> in_;
  int64_t first_;
  int64_t count_;
};

}  // namespace

void CpuOps::token_shift(Lane& lane, const StateRows& rows, const StateLayer& states,
                         const TokenShift& shift, Rows<const float> in,
                         std::span<const Activations> outs) const {
  const int64_t outputs = std::ssize(outs);
  CHECK(std::ssize(shift.weights) == outputs * in.width, "{} weights for {} outputs of {}",
        shift.weights.size(), outputs, in.width);
  CHECK(shift.added.width == 0 || shift.added.width == outputs * in.width);
  for_each_tile(lane, rows, in.width, [&](const StateSlice& slice, int64_t first, int64_t count) {
    const ShiftedTile shifted(kernels_, shift, in, first, count);
    alignas(64) float before[kTile] = {};
    float* state = states.of(slice.unit) + first;
    if (!slice.begins) std::copy_n(state, count, before);
    const float* previous = before;
    for (int64_t row = slice.row; row < slice.row + slice.rows; ++row) {
      shifted(row, previous, outs);
      previous = in.row(row) + first;
    }
    if (!shift.advances) return;
    std::copy_n(previous, count, state);
    for (const SliceSave& save : slice.saves) {
      std::copy_n(in.row(slice.row + save.rows - 1) + first, count, states.of(save.unit) + first);
    }
  });
}

void CpuOps::wkv4(Lane& lane, const StateRows& rows, const StateLayer& states, const Wkv4& wkv,
                  Rows<const float> keys, Rows<const float> values, Rows<float> out) const {
  constexpr float kNothing = -1e38F;  // an exponent that every other one is far above
  const int64_t part = whole_vectors(out.width);
  for_each_tile(lane, rows, out.width, [&](const StateSlice& slice, int64_t first, int64_t count) {
    float* state = states.of(slice.unit) + first;
    if (slice.begins) {
      std::fill_n(state, count, 0.0F);
      std::fill_n(state + part, count, 0.0F);
      std::fill_n(state + 2 * part, count, kNothing);
    }
    for_each_stretch(slice, [&](int64_t row, int64_t stretch, const SliceSave* save) {
      kernels_.rwkv->wkv4({.rows = stretch,
                           .count = count,
                           .decay = wkv.decay.data() + first,
                           .bonus = wkv.bonus.data() + first,
                           .keys = channels_of(keys, row, first),
                           .values = channels_of(values, row, first),
                           .out = channels_of(out, row, first),
                           .numerators = state,
                           .denominators = state + part,
                           .exponents = state + 2 * part});
      for (int64_t i = 0; save != nullptr && i < Wkv4::kParts; ++i) {
        std::copy_n(state + i * part, count, states.of(save->unit) + first + i * part);
      }
    });
  });
}

void CpuOps::rg_lru(Lane& lane, const StateRows& rows, const StateLayer& states, const RgLru& unit,
                    Rows<const float> in, Rows<const float> input_gates,
                    Rows<const float> recurrence_gates, Rows<float> out) const {
  for_each_tile(lane, rows, out.width, [&](const StateSlice& slice, int64_t first, int64_t count) {
    float* state = states.of(slice.unit) + first;
    if (slice.begins) std::fill_n(state, count, 0.0F);
    for_each_stretch(slice, [&](int64_t row, int64_t stretch, const SliceSave* save) {
      kernels_.rwkv->rg_lru({.rows = stretch,
                             .count = count,
                             .begins = slice.begins && row == slice.row,
                             .decay = unit.decay.data() + first,
                             .input_bias = unit.input_bias.data() + first,
                             .recurrence_bias = unit.recurrence_bias.data() + first,
                             .in = channels_of(in, row, first),
                             .input_gates = channels_of(input_gates, row, first),
                             .recurrence_gates = channels_of(recurrence_gates, row, first),
                             .out = channels_of(out, row, first),
                             .state = state});
      if (save != nullptr) std::copy_n(state, count, states.of(save->unit) + first);
    });
  });
}

void CpuOps::delta_inputs(Lane& lane, const DeltaInputs& inputs, const DeltaRows& rows) const {
  const int64_t width = rows.keys.width;
  const int64_t head = width / inputs.heads;
  const bool mixes = rows.values.width != 0;
  lane.for_each_piece(rows.keys.rows, 1, [&](WorkRange piece) {
    for (int64_t row = piece.begin; row < piece.end; ++row) {
      for (int64_t first = 0; first < width; first += head) {
        kernels_.rwkv->delta_head(
            {.count = head,
             .removal_scale = inputs.removal_scale.data() + first,
             .key_mix = inputs.key_mix.data() + first,
             .keys = rows.keys.row(row) + first,
             .rates = rows.rates.row(row) + first,
             .decays = rows.decays.row(row) + first,
             .removals = rows.removals.row(row) + first,
             .values = mixes ? rows.values.row(row) + first : nullptr,
             .value_shares = mixes ? rows.value_shares.row(row) + first : nullptr,
             .first_values = mixes ? rows.first_values.row(row) + first : nullptr});
      }
    }
  });
}

void CpuOps::add_head_bonus(Lane& lane, const HeadBonus& bonus, Rows<const float> queries,
                            Rows<const float> keys, Rows<const float> values,
                            Rows<float> out) const {
  const int64_t width = out.width / bonus.heads;
  lane.for_each_piece(out.rows, 1, [&](WorkRange rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t first = 0; first < out.width; first += width) {
        kernels_.rwkv->add_bonus(bonus.weights.data() + first, queries.row(row) + first,
                                 keys.row(row) + first, values.row(row) + first, width,
                                 out.row(row) + first);
      }
    }
  });
}

}  // namespace millrace::ops
