#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/rounded.h"
#include "tests/fixtures/kernels/state_runs.h"

namespace millrace {
namespace {

// A convolution with its numbers.
class ConvOf {
 public:
  ConvOf(int64_t kernel, int64_t channels, bool bias, bool silu)
      : kernel_(kernel),
        channels_(channels),
        silu_(silu),
        in_(random_floats(kStateTestRows * channels, 1)),
        weight_(random_floats(kernel * channels, 2)),
        bias_(random_floats(bias ? channels : 0, 3)) {}

  int64_t state_floats() const { return ops::CausalConv::state_floats(kernel_, channels_); }
  StateOp op() const {
    return [this](const Ops& ops, Lane& lane, const ops::StateRows& rows,
                  const ops::StateLayer& states, Rows<float> out) {
      ops.causal_conv(lane, rows, states, {.weight = weight_, .bias = bias_, .silu = silu_},
                      {in_.data(), kStateTestRows, channels_, channels_}, out);
    };
  }
  Rounded expected(const StateSequence& sequence, int64_t row, int64_t channel) const {
    Rounded sum = bias_.empty() ? 0.0F : bias_[at(channel)];
    for (int64_t j = 0; j < kernel_; ++j) {
      const int64_t from = row - kernel_ + 1 + j;
      if (from < 0) continue;
      const Rounded in = in_[at((sequence.first + from) * channels_ + channel)];
      sum = sum + Rounded(weight_[at(j * channels_ + channel)]) * in;
    }
    return silu_ ? silu(sum) : sum;
  }

 private:
  int64_t kernel_, channels_;
  bool silu_;
  Floats in_, weight_, bias_;
};

TEST(CausalConv, IsWhatItIsDefinedAsHoweverRowsAreCut) {
  for (const auto& [kernel, channels, bias, silu] :
       {std::tuple(4, 128, true, true), std::tuple(3, 300, false, false),
        std::tuple(1, 5, true, false), std::tuple(2, 131, false, true),
        std::tuple(12, 17, true, true)}) {
    const ConvOf conv(kernel, channels, bias, silu);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(name_of(isa));
      const StateRun run = run_whole(isa, conv.state_floats(), channels, conv.op());
      for (const StateSequence& sequence : kStateSequences) {
        for (int64_t i = 0; i < sequence.rows * channels; ++i) {
          const int64_t row = i / channels;
          const Rounded want = conv.expected(sequence, row, i % channels);
          const float got = run.out[at((sequence.first + row) * (channels + 1) + i % channels)];
          ASSERT_NEAR(got, want.value, want.bound) << "row " << row;
        }
      }
      expect_same_however_cut(isa, conv.state_floats(), channels, conv.op());
    }
    expect_twins_agree(conv.state_floats(), channels, conv.op());
  }
}

Floats gated(Isa isa, int lanes, const ops::ElementFunction& function, const Floats* in,
             Floats gates, int64_t rows, int64_t share) {
  Floats out(gates.size() * at(share));
  if (in != nullptr) out = *in;
  LanePool(lanes).run([&](Lane& lane) {
    const Rows<float> view = rows_of(out, rows);
    CpuOps(kernels_for(isa))
        .gate(lane, in == nullptr ? Rows<const float>{} : view, function, rows_of(gates, rows),
              view);
  });
  return out;
}

struct ElementCase {
  ops::ElementFunction function;
  Rounded (*of)(const Rounded& x);
};

using Element = ops::ElementFunction::Kind;
using Activation = ops::ActivationFunction::Kind;

// e^2x - 1 over e^2x + 1, of the smaller exponential: 4 roundings, 2 of sums, a quotient.
Rounded tanh_of(const Rounded& x) { return Rounded::of(std::tanh(x.value), x.bound, 8); }
Rounded elu_of(const Rounded& x) { return x.value > 0 ? x + Rounded(1.0F) : exp(x); }
Rounded gelu_tanh_of(const Rounded& x) {
  const Rounded inner = (x * x * Rounded(0.0713548163F) + Rounded(1.59576912F)) * x;
  return x * sigmoid(inner);
}

// A root halves what is carried.
Rounded reciprocal_root_of(const Rounded& x) {
  return Rounded(1.0F) / Rounded::of(std::sqrt(x.value), 0);
}

const ElementCase kElementFunctions[] = {
    {{.kind = Element::kIdentity}, [](const Rounded& x) { return x; }},
    {{.kind = Element::kSigmoid}, sigmoid},
    {{.kind = Element::kTanh}, tanh_of},
    {{.kind = Element::kEluPlusOne}, elu_of},
    {{.kind = Element::kReciprocal}, [](const Rounded& x) { return Rounded(1.0F) / x; }},
    {{.kind = Element::kReciprocalRoot}, reciprocal_root_of},
    {ops::kSiluOfElements, silu},
    {{.kind = Element::kActivation, .activation = {.kind = Activation::kGeluTanh}}, gelu_tanh_of},
    {{.kind = Element::kActivation, .activation = {.kind = Activation::kRelu}},
     [](const Rounded& x) { return x.value > 0 ? x : Rounded(); }},
    {{.kind = Element::kActivation, .activation = {.kind = Activation::kReluSquared}},
     [](const Rounded& x) { return x.value > 0 ? x * x : Rounded(); }},
};

TEST(Gate, MultipliesByAFunctionOfEachGate) {
  for (const std::array<int, 3>& sizes :
       {std::array{3, 37, 1}, std::array{2, 4, 19}, std::array{1, 16, 32}}) {
    const int rows = sizes[0];
    const int count = sizes[1];
    const int share = sizes[2];
    const Floats any = random_floats(rows * count, 21, 3);
    const Floats in = random_floats(rows * count * share, 22);
    for (const ElementCase& test : kElementFunctions) {
      Floats gates = any;
      if (test.function.kind == Element::kReciprocalRoot) {
        for (float& x : gates) x = std::fabs(x);
      }
      for (const Isa isa : supported_isas()) {
        const Floats product = gated(isa, 2, test.function, &in, gates, rows, share);
        const Floats alone = gated(isa, 1, test.function, nullptr, gates, rows, share);
        for (size_t i = 0; i < in.size(); ++i) {
          const Rounded factor = test.of(gates[i / at(share)]);
          const Rounded want = Rounded(in[i]) * factor;
          ASSERT_NEAR(alone[i], factor.value, factor.bound) << name_of(isa);
          ASSERT_NEAR(product[i], want.value, want.bound) << name_of(isa);
        }
      }
      for_each_twin([&](Isa tier, Isa twin) {
        EXPECT_EQ(bits_of(gated(tier, 1, test.function, &in, gates, rows, share)),
                  bits_of(gated(twin, 1, test.function, &in, gates, rows, share)));
      });
    }
  }
}

// The activation functions are those of hidden layers (kernels/hidden_test.cc), bit for bit.
TEST(Gate, HasTheActivationFunctionsOfHiddenLayers) {
  const PackedCase identity = [] {
    Floats values(32 * 32);
    for (size_t i = 0; i < 32; ++i) values[i * 33] = 1;
    std::vector<std::byte> blocks(at(32 * row_bytes(DType::kF32, 32)));
    pack_row(DType::kF32, values.data(), 32 * 32, blocks.data());
    return weights_of(DType::kF32, 32, 32, blocks);
  }();
  const Floats in = random_floats(2 * 32, 23, 3);
  for (const Activation kind :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kGeluQuick,
        Activation::kRelu, Activation::kReluSquared, Activation::kXielu}) {
    const ops::ActivationFunction function = {
        .kind = kind, .positive = 0.8F, .negative = 0.3F, .beta = 0.5F, .epsilon = -1e-6F};
    for (const Isa isa : supported_isas()) {
      const Placed placed = converted(isa, {.f32 = true}, in, 2);
      const Placed hidden = place({.f32 = true}, 2, 32);
      LanePool(1).run([&](Lane& lane) {
        CpuOps(kernels_for(isa))
            .hidden(lane, {.up = &identity.packed, .function = function}, placed.view, hidden.view);
      });
      const ops::ElementFunction element = {.kind = Element::kActivation, .activation = function};
      EXPECT_EQ(bits_of(gated(isa, 1, element, nullptr, in, 2, 1)),
                bits_of(std::span(hidden.view.f32, in.size())))
          << name_of(isa) << " " << static_cast<int>(kind);
    }
  }
}

struct StepsMade {
  Floats steps, decays;
};

StepsMade steps_of(Isa isa, const ops::TimeSteps& time_steps, Floats in, int64_t rows) {
  StepsMade made = {Floats(in.size()), Floats(in.size())};
  LanePool(2).run([&](Lane& lane) {
    const CpuOps ops(kernels_for(isa));
    ops.time_steps(lane, time_steps, rows_of(in, rows), rows_of(made.steps, rows),
                   rows_of(made.decays, rows));
    lane.barrier();
    ops.time_steps(lane, time_steps, rows_of(in, rows), {}, rows_of(in, rows));
  });
  EXPECT_EQ(bits_of(in), bits_of(made.decays)) << "decays alone, in place";
  return made;
}

TEST(TimeSteps, AreSoftplusWithinLimitsAndDecaysTheirExponentials) {
  for (const std::array<int, 3>& sizes : {std::array{3, 21, 1}, std::array{2, 3, 18}}) {
    const int rows = sizes[0];
    const int heads = sizes[1];
    const int share = sizes[2];
    Floats in = random_floats(rows * heads * share, 31, 6);
    in[0] = 60;
    in[1] = -60;
    const Floats bias = random_floats(heads * share, 32);
    Floats rates = random_floats(heads, 33);
    for (float& x : rates) x = -std::fabs(x);
    ops::TimeSteps time_steps = {.bias = bias, .rates = rates};
    for (const bool limited : {false, true}) {
      if (limited) {
        time_steps.smallest = 0.125F;
        time_steps.largest = 4;
      }
      for (const Isa isa : supported_isas()) {
        const StepsMade made = steps_of(isa, time_steps, in, rows);
        for (size_t i = 0; i < in.size(); ++i) {
          const size_t column = i % bias.size();
          Rounded step = softplus(Rounded(in[i]) + bias[column]);
          if (limited) step.value = std::clamp(step.value, 0.125, 4.0);
          const Rounded decay = exp(step * rates[column / at(share)]);
          ASSERT_NEAR(made.steps[i], step.value, step.bound) << name_of(isa);
          ASSERT_NEAR(made.decays[i], decay.value, decay.bound) << name_of(isa);
        }
      }
      for_each_twin([&](Isa tier, Isa twin) {
        const StepsMade a = steps_of(tier, time_steps, in, rows);
        const StepsMade b = steps_of(twin, time_steps, in, rows);
        EXPECT_EQ(bits_of(a.steps), bits_of(b.steps));
        EXPECT_EQ(bits_of(a.decays), bits_of(b.decays));
      });
    }
  }
}

TEST(GatherColumns, CopiesThem) {
  Floats in(3 * 7);
  std::iota(in.begin(), in.end(), 0.0F);
  const std::vector<int32_t> columns = {5, 0, 0, 6};
  Floats out(3 * 4);
  LanePool(2).run([&](Lane& lane) {
    CpuOps(kernels_for(best_isa())).gather_columns(lane, rows_of(in, 3), columns, rows_of(out, 3));
  });
  EXPECT_EQ(out, (Floats{5, 0, 0, 6, 12, 7, 7, 13, 19, 14, 14, 20}));
}

// Parts of a row become what norm_in_place() makes of them as rows.
TEST(NormHeads, NormsEachPartOfARow) {
  constexpr int64_t kRows = 3;
  constexpr int64_t kHeads = 4;
  constexpr int64_t kWidth = 21;
  const Floats in = random_floats(kRows * kHeads * kWidth, 41);
  for (const bool whole : {false, true}) {
    const Floats weight = random_floats((whole ? kHeads : 1) * kWidth, 42);
    const Floats bias = random_floats(kWidth, 43);
    const ops::Norm norm = {
        .kind = ops::Norm::Kind::kLayer, .weight = weight, .bias = bias, .epsilon = 1e-5F};
    for (const Isa isa : supported_isas()) {
      const CpuOps ops(kernels_for(isa));
      Floats out = in;
      Floats rows = in;
      LanePool(2).run([&](Lane& lane) {
        ops.norm_heads(lane, rows_of(out, kRows), kHeads, norm);
        for (int64_t i = 0; i < kRows * kHeads; ++i) {
          ops::Norm of_head = norm;
          if (whole) of_head.weight = norm.weight.subspan(at(i % kHeads * kWidth), kWidth);
          ops.norm_in_place(lane, {rows.data() + i * kWidth, 1, kWidth, kWidth}, of_head);
        }
      });
      EXPECT_EQ(bits_of(out), bits_of(rows)) << name_of(isa);
    }
  }
}

TEST(Rotate, TurnsThePairsOfEachHead) {
  constexpr int64_t kHeadDim = 12;
  constexpr int32_t kRotated = 8;
  Floats in = random_floats(2 * 3 * kHeadDim, 51);
  const Floats turns = random_floats(2 * kRotated / 2, 52);
  Floats angles(2 * kRotated);
  for (size_t row = 0; row < 2; ++row) {
    for (size_t i = 0; i < kRotated / 2; ++i) {
      angles[row * kRotated + i] = std::cos(turns[row * kRotated / 2 + i]);
      angles[row * kRotated + kRotated / 2 + i] = std::sin(turns[row * kRotated / 2 + i]);
    }
  }
  for (const Isa isa : supported_isas()) {
    Floats out = in;
    LanePool(1).run([&](Lane& lane) {
      CpuOps(kernels_for(isa))
          .rotate(lane, {.pairs = ops::Rope::Pairs::kNeighbours, .angles = rows_of(angles, 2)},
                  kHeadDim, rows_of(out, 2));
    });
    for (int64_t i = 0; i < std::ssize(in); ++i) {
      const int64_t d = i % kHeadDim;
      const int64_t row = i / (3 * kHeadDim);
      Rounded want = in[at(i)];
      if (d < kRotated) {
        const Rounded cosine = angles[at(row * kRotated + d / 2)];
        const Rounded sine = angles[at(row * kRotated + kRotated / 2 + d / 2)];
        const Rounded other = in[at(d % 2 == 0 ? i + 1 : i - 1)];
        want = d % 2 == 0 ? want * cosine - other * sine : want * cosine + other * sine;
      }
      ASSERT_NEAR(out[at(i)], want.value, want.bound) << name_of(isa);
    }
  }
}

}  // namespace
}  // namespace millrace
