#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/op_cases.h"

// Against plain loops in double, for a sequence as a whole; and that cutting it, saving its state
// and going on from there changes no bit.

namespace millrace {
namespace {

constexpr double kFunction = 8;  // roundings of a function of one number (generic/math.inc)

// Rows of one sequence with a state, as one op takes it; further sequences beside it.
class StateCase {
 public:
  using Run = std::function<void(const CpuOps&, Lane&, const ops::StateRows&,
                                 const ops::StateLayer&, WorkRange)>;

  StateCase(Isa isa, int64_t rows, int64_t state_floats, Run run)
      : ops_(kernels_for(isa)), rows_(rows), run_(std::move(run)) {
    stride_ = (state_floats + 15) / 16 * 16;
    storage_ = Buffer::allocate(kUnits * stride_ * 4).value();
    std::fill_n(reinterpret_cast<float*>(storage_.data()), kUnits * stride_, NAN);
  }

  // Rows [begin, end) of the sequence, which is in unit 1, with the state saved into unit 2 after
  // `saved` of them; 0: not.
  void run(int64_t begin, int64_t end, int64_t saved, int lanes, int32_t unit = 1) {
    const ops::SliceSave save = {.rows = static_cast<int32_t>(saved), .unit = 2};
    const ops::StateSlice slice = {.row = 0,
                                   .rows = static_cast<int32_t>(end - begin),
                                   .unit = unit,
                                   .begins = begin == 0,
                                   .saves = std::span(&save, saved > 0 ? 1 : 0)};
    const ops::StateLayer layer = {storage_.data(), stride_ * 4};
    LanePool(lanes).run([&](Lane& lane) {
      run_(ops_, lane, {.slices = std::span(&slice, 1)}, layer, {begin, end});
    });
  }

  // What every way of cutting must not change. `out` is what the runs fill.
  void check_cuts(const Floats& out) {
    run(0, rows_, 0, 1);
    const auto whole = bits_of(out);
    const auto state = bits_of(state_of(1));
    for (const int lanes : {1, 3}) {
      for (const int64_t cut : {int64_t{1}, rows_ / 2, rows_ - 1}) {
        if (cut < 1 || cut >= rows_) continue;
        run(0, cut, 0, lanes);
        run(cut, rows_, 0, lanes);
        EXPECT_EQ(bits_of(out), whole) << "cut at " << cut;
        EXPECT_EQ(bits_of(state_of(1)), state) << "cut at " << cut;
        run(0, rows_, cut, lanes);
        EXPECT_EQ(bits_of(out), whole) << "saved at " << cut;
        EXPECT_EQ(bits_of(state_of(1)), state) << "saved at " << cut;
        run(cut, rows_, 0, lanes, 2);
        EXPECT_EQ(bits_of(out), whole) << "from what was saved at " << cut;
        EXPECT_EQ(bits_of(state_of(2)), state) << "from what was saved at " << cut;
      }
    }
  }

 private:
  static constexpr int64_t kUnits = 3;

  std::span<const float> state_of(int32_t unit) const {
    return {reinterpret_cast<const float*>(storage_.data()) + unit * stride_, at(stride_)};
  }

  CpuOps ops_;
  int64_t rows_;
  int64_t stride_ = 0;
  Buffer storage_;
  Run run_;
};

Rows<float> part_of(Floats& values, int64_t rows, WorkRange range) {
  const int64_t width = std::ssize(values) / rows;
  return {values.data() + range.begin * width, range.size(), width, width};
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

class RwkvTest : public testing::TestWithParam<Isa> {};

struct ShiftCase {
  int64_t outputs;
  bool own_share, added;
};

TEST_P(RwkvTest, TokenShiftMixesWithTheRowBefore) {
  for (const int64_t width : {1, 40, 64, 300}) {
    for (const ShiftCase& test : {ShiftCase{1, false, false}, {3, true, false}, {5, false, true}}) {
      constexpr int64_t kRows = 70;
      Floats in = random_floats(kRows * width, 1);
      const Floats weights = random_floats(test.outputs * width, 2);
      Floats added = random_floats(kRows * test.outputs * width, 3);
      Floats out(at(test.outputs * kRows * width));
      StateCase state(GetParam(), kRows, width,
                      [&](const CpuOps& ops, Lane& lane, const ops::StateRows& rows,
                          const ops::StateLayer& layer, WorkRange range) {
                        std::vector<Activations> outs;
                        for (int64_t i = 0; i < test.outputs; ++i) {
                          outs.push_back({.forms = {.f32 = true},
                                          .rows = range.size(),
                                          .width = width,
                                          .f32 = out.data() + (i * kRows + range.begin) * width});
                        }
                        const ops::TokenShift shift = {
                            .weights = weights,
                            .own_share = test.own_share,
                            .added = test.added ? part_of(added, kRows, range) : Rows<float>{}};
                        ops.token_shift(lane, rows, layer, shift, part_of(in, kRows, range), outs);
                      });
      state.run(0, kRows, 0, 3);
      for (int64_t i = 0; i < std::ssize(out); ++i) {
        const int64_t output = i / (kRows * width), row = i / width % kRows, column = i % width;
        const double own = in[at(row * width + column)];
        const double before = row == 0 ? 0 : in[at((row - 1) * width + column)];
        double weight = weights[at(output * width + column)];
        const double more =
            test.added ? added[at((row * test.outputs + output) * width + column)] : 0;
        weight += more;
        const double expected =
            test.own_share ? before + (own - before) * weight : own + (before - own) * weight;
        const double size = std::fabs(own) + std::fabs(before);
        const double bound = (3 * size * (std::fabs(weight) + std::fabs(more)) + size) * kRounding;
        ASSERT_NEAR(out[at(i)], expected, 2 * bound) << "width " << width << " element " << i;
      }
      state.check_cuts(out);
    }
  }
}

// Every form, and the state as it was where a shift does not advance it.
TEST_P(RwkvTest, TokenShiftQuantisesAndMayLeaveTheState) {
  const CpuOps ops(kernels_for(GetParam()));
  constexpr int64_t kRows = 66;
  for (const int64_t width : {320, 512}) {
    Floats in = random_floats(kRows * width, 4);
    const Floats weights = random_floats(width, 5);
    const Placed out = place(all_forms(width), kRows, width);
    Buffer storage = Buffer::allocate(width * 4).value();
    auto* state = reinterpret_cast<float*>(storage.data());
    std::fill_n(state, width, 7.0F);
    const ops::StateSlice slices[] = {{.row = 0, .rows = kRows, .unit = 0}};
    const ops::TokenShift shift = {.weights = weights, .advances = false};
    LanePool(3).run([&](Lane& lane) {
      ops.token_shift(lane, {slices}, {storage.data(), width * 4}, shift, rows_of(in, kRows),
                      std::span(&out.view, 1));
    });
    EXPECT_TRUE(forms_agree(GetParam(), out.view));
    EXPECT_TRUE(std::all_of(state, state + width, [](float x) { return x == 7; }));
  }
}

// The exponents' sums go through several orders of magnitude: decays from almost none to almost
// all, and keys that a plain exponential could not hold.
TEST_P(RwkvTest, Wkv4AveragesValues) {
  for (const int64_t width : {1, 40, 300}) {
    constexpr int64_t kRows = 40;
    Floats keys = random_floats(kRows * width, 6, 30);
    Floats values = random_floats(kRows * width, 7);
    Floats decay = random_floats(width, 8, 2);
    for (float& x : decay) x = std::exp(x);
    const Floats bonus = random_floats(width, 9, 2);
    Floats out(at(kRows * width));
    const int64_t part = (width + 15) / 16 * 16;
    StateCase state(GetParam(), kRows, ops::Wkv4::kParts * part,
                    [&](const CpuOps& ops, Lane& lane, const ops::StateRows& rows,
                        const ops::StateLayer& layer, WorkRange range) {
                      ops.wkv4(lane, rows, layer, {.decay = decay, .bonus = bonus},
                               part_of(keys, kRows, range), part_of(values, kRows, range),
                               part_of(out, kRows, range));
                    });
    state.run(0, kRows, 0, 2);
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t column = 0; column < width; ++column) {
        const auto exponent = [&](int64_t i) {
          const double key = keys[at(i * width + column)];
          return i == row ? key + bonus[at(column)]
                          : key - double{decay[at(column)]} * static_cast<double>(row - 1 - i);
        };
        double top = -1e38;
        for (int64_t i = 0; i <= row; ++i) top = std::max(top, exponent(i));
        double above = 0, below = 0, size = 0;
        for (int64_t i = 0; i <= row; ++i) {
          const double share = std::exp(exponent(i) - top);
          above += share * values[at(i * width + column)];
          size += share * std::fabs(values[at(i * width + column)]);
          below += share;
        }
        // Exponents of magnitude 100 are off by a rounding in every row, and their powers with
        // them.
        const double largest = 100 + 2 * decay[at(column)];
        const double bound = static_cast<double>(row + 1) * (largest + kFunction + 4) * kRounding;
        ASSERT_NEAR(out[at(row * width + column)], above / below, 2 * bound * size / below)
            << "width " << width << " row " << row;
      }
    }
    state.check_cuts(out);
  }
}

TEST_P(RwkvTest, RgLruForgetsByItsGate) {
  for (const int64_t width : {1, 40, 300}) {
    constexpr int64_t kRows = 30;
    Floats in = random_floats(kRows * width, 10);
    Floats input_gates = random_floats(kRows * width, 11, 3);
    Floats recurrence_gates = random_floats(kRows * width, 12, 3);
    Floats decay = random_floats(width, 13, 2);
    for (float& x : decay) x = std::exp(x);
    const Floats input_bias = random_floats(width, 14);
    const Floats recurrence_bias = random_floats(width, 15);
    Floats out(at(kRows * width));
    StateCase state(
        GetParam(), kRows, width,
        [&](const CpuOps& ops, Lane& lane, const ops::StateRows& rows, const ops::StateLayer& layer,
            WorkRange range) {
          ops.rg_lru(lane, rows, layer,
                     {.decay = decay, .input_bias = input_bias, .recurrence_bias = recurrence_bias},
                     part_of(in, kRows, range), part_of(input_gates, kRows, range),
                     part_of(recurrence_gates, kRows, range), part_of(out, kRows, range));
        });
    state.run(0, kRows, 0, 2);
    for (int64_t column = 0; column < width; ++column) {
      double h = 0, bound = 0;
      for (int64_t row = 0; row < kRows; ++row) {
        const auto i = at(row * width + column);
        const double recurrence =
            sigmoid_of(double{recurrence_gates[i]} + recurrence_bias[at(column)]);
        const double exponent = -double{decay[at(column)]} * recurrence;
        const double input = sigmoid_of(double{input_gates[i]} + input_bias[at(column)]);
        const double kept = row == 0 ? 1 : std::sqrt(-std::expm1(2 * exponent));
        // The gates' sums are off by a rounding of magnitude 16, a decay by that of its exponent.
        const double gate_error = (16 + kFunction) * kRounding;
        const double decay_error = std::exp(exponent) * std::fabs(exponent) * 2 * gate_error;
        bound = std::exp(exponent) * bound + std::fabs(h) * (decay_error + 4 * kRounding) +
                std::fabs(in[i]) * (4 * gate_error + kFunction * kRounding);
        h = std::exp(exponent) * h + kept * input * in[i];
        ASSERT_NEAR(out[i], h, bound + kUnderflow) << "width " << width << " row " << row;
      }
    }
    state.check_cuts(out);
  }
}

TEST_P(RwkvTest, DeltaInputsAreOfEachHead) {
  const CpuOps ops(kernels_for(GetParam()));
  constexpr int64_t kRows = 5;
  for (const int64_t head : {8, 17, 64}) {
    constexpr int64_t kHeads = 3;
    const int64_t width = kHeads * head;
    Floats keys = random_floats(kRows * width, 16), rates = random_floats(kRows * width, 17, 3);
    Floats decays = random_floats(kRows * width, 18, 3), removals(at(kRows * width));
    Floats values = random_floats(kRows * width, 21), shares = random_floats(kRows * width, 22, 3);
    Floats firsts = random_floats(kRows * width, 23);
    std::fill_n(keys.begin(), head, 0.0F);  // has no direction
    const Floats keys_in = keys, rates_in = rates, decays_in = decays, values_in = values;
    const Floats scale = random_floats(width, 19), key_mix = random_floats(width, 20);
    LanePool(2).run([&](Lane& lane) {
      ops.delta_inputs(lane, {.heads = kHeads, .removal_scale = scale, .key_mix = key_mix},
                       {.keys = rows_of(keys, kRows),
                        .rates = rows_of(rates, kRows),
                        .decays = rows_of(decays, kRows),
                        .removals = rows_of(removals, kRows),
                        .values = rows_of(values, kRows),
                        .value_shares = rows_of(shares, kRows),
                        .first_values = rows_of(firsts, kRows)});
    });
    for (int64_t i = 0; i < kRows * width; ++i) {
      const int64_t column = i % width, first = i - column % head;
      double squares = 0;
      for (int64_t j = 0; j < head; ++j) {
        const double u = double{keys_in[at(first + j)]} * scale[at((first + j) % width)];
        squares += u * u;
      }
      const double unit =
          double{keys_in[at(i)]} * scale[at(column)] / std::max(1e-12, std::sqrt(squares));
      const double rate = sigmoid_of(rates_in[at(i)]);
      const double decay = std::exp(-std::exp(-0.5) * sigmoid_of(decays_in[at(i)]));
      const double key = keys_in[at(i)] * (1 + (rate - 1) * key_mix[at(column)]);
      const double key_size = std::fabs(keys_in[at(i)]) * (1 + std::fabs(key_mix[at(column)]));
      const double relative = (kFunction + 4 + static_cast<double>(head)) * kRounding;
      ASSERT_NEAR(removals[at(i)], -unit, std::fabs(unit) * relative + kUnderflow);
      ASSERT_NEAR(rates[at(i)], unit * rate, std::fabs(unit) * 2 * relative + kUnderflow);
      ASSERT_NEAR(decays[at(i)], decay, decay * 2 * relative);
      ASSERT_NEAR(keys[at(i)], key, key_size * 2 * relative + kUnderflow);
      const double value = values_in[at(i)], way = firsts[at(i)] - value;
      const double value_size = std::fabs(value) + std::fabs(firsts[at(i)]);
      ASSERT_NEAR(values[at(i)], value + way * sigmoid_of(shares[at(i)]),
                  value_size * 2 * relative + kUnderflow);
    }
  }
}

TEST_P(RwkvTest, TheBonusIsOfEachHead) {
  const CpuOps ops(kernels_for(GetParam()));
  constexpr int64_t kRows = 5, kHeads = 3;
  for (const int64_t head : {8, 17, 64}) {
    const int64_t width = kHeads * head, size = kRows * width;
    Floats queries = random_floats(size, 21), keys = random_floats(size, 22);
    Floats values = random_floats(size, 23), out = random_floats(size, 24);
    const Floats weights = random_floats(width, 25), before = out;
    LanePool(2).run([&](Lane& lane) {
      ops.add_head_bonus(lane, {.heads = kHeads, .weights = weights}, rows_of(queries, kRows),
                         rows_of(keys, kRows), rows_of(values, kRows), rows_of(out, kRows));
    });
    for (int64_t i = 0; i < size; ++i) {
      const int64_t first = i - i % head;
      double sum = 0, magnitude = 0;
      for (int64_t j = first; j < first + head; ++j) {
        const double term = double{queries[at(j)]} * keys[at(j)] * weights[at(j % width)];
        sum += term;
        magnitude += std::fabs(term);
      }
      const double bound = static_cast<double>(head + 3) * magnitude * std::fabs(values[at(i)]) +
                           2 * std::fabs(before[at(i)]);
      ASSERT_NEAR(out[at(i)], before[at(i)] + sum * values[at(i)], bound * kRounding);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, RwkvTest, testing::ValuesIn(supported_isas()),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace millrace
