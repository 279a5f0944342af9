#include "kernels/experts.h"

#include <algorithm>
#include <string>
#include <sys/mman.h>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/routed.h"

namespace millrace {
namespace {

using ops::Dispatch;
using ops::Routing;

// The matrices of some experts, in one and each by itself.
struct Experts {
  std::vector<PackedCase> alone;
  Buffer storage;
  ops::ExpertMatrix all;
};

Experts random_experts(DType type, int64_t experts, int64_t rows, int64_t width, uint32_t seed) {
  Experts result;
  const int64_t padded = (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
  result.storage = Buffer::allocate(PackedMatrix::bytes(type, experts * padded, width)).value();
  result.all = {.matrix = PackedMatrix(type, experts * padded, width, result.storage.data()),
                .experts = experts,
                .rows = rows};
  for (int64_t i = 0; i < experts; ++i) {
    const Floats values = random_floats(rows * width, seed + static_cast<uint32_t>(i), 0.3F);
    std::vector<std::byte> blocks(at(rows * row_bytes(type, width)));
    pack_row(type, values.data(), rows * width, blocks.data());
    CHECK(result.all.matrix.pack({{type, 2, {rows, width, 1, 1}}, blocks.data()}, i * padded));
    result.alone.push_back(weights_of(type, rows, width, blocks));
  }
  return result;
}

struct HiddenCase {
  bool gated = true;
  bool weighted = false;

  ActivationFunction function() const {
    if (!gated) return {.kind = ActivationFunction::Kind::kReluSquared};
    return {.kind = ActivationFunction::Kind::kClampedSwiglu, .alpha = 1.702F, .limit = 7};
  }
};

class ExpertsTest : public testing::TestWithParam<std::tuple<Isa, DType>> {
 protected:
  static constexpr int64_t kCount = 5;
  const Isa isa_ = std::get<0>(GetParam());
  const DType type_ = std::get<1>(GetParam());
  const int64_t block_ = info_of(type_).block_elements;
  const int64_t width_ = std::max<int64_t>(block_, 64);
  const int64_t hidden_ = block_ == 1 ? 40 : block_ == 32 ? 96 : 512;
  const int64_t outputs_ = 50;
  const Experts gate_ = random_experts(type_, kCount, hidden_, width_, 100);
  const Experts up_ = random_experts(type_, kCount, hidden_, width_, 200);
  const Experts down_ = random_experts(type_, kCount, outputs_, hidden_, 300);
  const Floats hidden_bias_ = random_floats(kCount * hidden_, 8);
  const Floats down_bias_ = random_floats(kCount * outputs_, 9);
  const CpuOps cpu_ = CpuOps(kernels_for(isa_));

  std::span<const float> hidden_bias(int64_t expert) const {
    return std::span(hidden_bias_).subspan(at(expert * hidden_), at(hidden_));
  }

  // [places, outputs]
  Floats dispatched(const Routed& routed, ActivationForms forms, const Floats& in,
                    const HiddenCase& hidden_case, int lanes) const {
    const Dispatch& d = routed.dispatch;
    const Placed placed = converted(isa_, forms, in, d.rows);
    const Placed gathered = place(forms, d.all_places(), width_);
    const Placed hidden = place(forms, d.all_places(), hidden_);
    Floats out(at(d.all_places() * outputs_));
    ops::ExpertHidden layer{.up = &up_.all,
                            .up_bias = hidden_bias_,
                            .function = hidden_case.function(),
                            .weighted = hidden_case.weighted};
    if (hidden_case.gated) {
      layer.gate = &gate_.all;
      layer.gate_bias = hidden_bias_;
    }
    LanePool(lanes).run([&](Lane& lane) {
      const bool one = d.rows == 1;
      if (!one) cpu_.gather_dispatched(lane, placed.view, d, gathered.view);
      cpu_.barrier(lane);
      cpu_.expert_hidden(lane, layer, one ? placed.view : gathered.view, d, hidden.view);
      cpu_.barrier(lane);
      cpu_.expert_linear(lane, down_.all, hidden.view, down_bias_, d, rows_of(out, d.all_places()));
    });
    return out;
  }

  // Of one row with one expert.
  Floats alone(ActivationForms forms, const Floats& in, int32_t expert,
               const HiddenCase& hidden_case) const {
    const Placed placed = converted(isa_, forms, in, 1);
    const Placed hidden = place(forms, 1, hidden_);
    Floats out(at(outputs_));
    ops::Hidden layer{.up = &up_.alone[at(expert)].packed,
                      .up_bias = hidden_bias(expert),
                      .function = hidden_case.function()};
    if (hidden_case.gated) {
      layer.gate = &gate_.alone[at(expert)].packed;
      layer.gate_bias = hidden_bias(expert);
    }
    const auto bias = std::span(down_bias_).subspan(at(expert * outputs_), at(outputs_));
    LanePool(1).run([&](Lane& lane) {
      cpu_.hidden(lane, layer, placed.view, hidden.view);
      cpu_.linear(lane, down_.alone[at(expert)].packed, hidden.view, bias, ops::Store::kSet,
                  rows_of(out, 1));
    });
    return out;
  }
};

TEST_P(ExpertsTest, ARowHasTheBitsThatItHasAlone) {
  for (const int64_t rows : {1, 3, 200}) {  // 200: some experts have more than a row group
    const HiddenCase hidden{.gated = rows != 3};
    const Floats in = random_floats(rows * width_, 10);
    const Routed result = routed({.chosen = 2}, random_floats(rows * kCount, 11), rows);
    for (const ActivationForms forms : forms_of(isa_, type_)) {
      const Floats out = dispatched(result, forms, in, hidden, static_cast<int>(rows % 3) + 1);
      for (int64_t row = 0; row < rows; row += rows < 10 ? 1 : 17) {
        const Floats one(in.begin() + row * width_, in.begin() + (row + 1) * width_);
        for (int64_t i = 2 * row; i < 2 * row + 2; ++i) {
          const Floats expected = alone(forms, one, result.dispatch.experts_of[i], hidden);
          const float* const place = out.data() + result.dispatch.places[i] * outputs_;
          EXPECT_EQ(bits_of({place, at(outputs_)}), bits_of(expected))
              << name_of(forms) << " row " << row << " of " << rows;
        }
      }
    }
  }
}

// Each head reads its own columns and writes its own; those between stay.
TEST_P(ExpertsTest, HeadsHaveTheBitsOfEachMatrixAlone) {
  const int64_t in_step = block_ == 1 ? 70 : width_ + block_;
  const int64_t out_step = hidden_ + 5;
  for (const int64_t rows : {1, 3, 70}) {
    const int64_t width = (kCount - 1) * in_step + width_;
    const Floats in = random_floats(rows * width, 14);
    for (const ActivationForms forms : forms_of(isa_, type_)) {
      for (const int64_t step : {in_step, int64_t{0}}) {
        const Placed placed = converted(isa_, forms, in, rows);
        Floats out(at(rows * kCount * out_step), 7.0F);
        LanePool(static_cast<int>(rows % 3) + 1).run([&](Lane& lane) {
          cpu_.head_linear(lane, up_.all, placed.view, step, out_step, rows_of(out, rows));
        });
        for (int64_t head = 0; head < kCount; ++head) {
          Floats columns;
          for (int64_t row = 0; row < rows; ++row) {
            const auto first = in.begin() + row * width + head * step;
            columns.insert(columns.end(), first, first + width_);
          }
          const Floats expected = linear(isa_, up_.alone[at(head)], forms, columns, rows);
          for (int64_t row = 0; row < rows; ++row) {
            const float* const own = out.data() + (row * kCount + head) * out_step;
            EXPECT_EQ(bits_of({own, at(hidden_)}),
                      bits_of({expected.data() + row * hidden_, at(hidden_)}))
                << name_of(forms) << " head " << head << " row " << row;
            for (int64_t k = hidden_; k < out_step; ++k) EXPECT_EQ(own[k], 7);
          }
        }
      }
    }
  }
}

// A weight on the products is one on the input, but for rounding.
TEST_P(ExpertsTest, WeightsMayComeBeforeTheFunction) {
  const int64_t rows = 3;
  const Floats in = random_floats(rows * width_, 12);
  const Routed result =
      routed({.score = Routing::Score::kSigmoid, .after_choice = true, .chosen = 1},
             random_floats(rows * kCount, 13), rows);
  const ActivationForms forms{.f32 = true};
  const HiddenCase hidden{.weighted = true};
  const Floats out = dispatched(result, forms, in, hidden, 2);
  for (int64_t row = 0; row < rows; ++row) {
    Floats one(in.begin() + row * width_, in.begin() + (row + 1) * width_);
    for (float& x : one) x *= result.dispatch.weights[row];
    const Floats expected = alone(forms, one, result.dispatch.experts_of[row], hidden);
    const int64_t place = result.dispatch.places[row];
    for (int64_t k = 0; k < outputs_; ++k) {
      EXPECT_NEAR(out[at(place * outputs_ + k)], expected[at(k)],
                  1e-6 * static_cast<double>(hidden_));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, ExpertsTest,
                         testing::Combine(testing::ValuesIn(supported_isas()),
                                          testing::Values(DType::kF32, DType::kBF16, DType::kQ8_0,
                                                          DType::kMXFP4, DType::kQ4_K)));

// The matrices [rows, width] of experts that are a page each, of which one can be read.
class PagedExperts {
 public:
  static constexpr int64_t kPage = 4096;

  PagedExperts(int64_t experts, int64_t rows, int64_t width, int64_t readable)
      : size_(at(experts * kPage)),
        memory_(
            ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    auto* const bytes = static_cast<std::byte*>(memory_);
    CHECK(memory_ != MAP_FAILED && PackedMatrix::bytes(DType::kF32, rows, width) == kPage);
    all_ = {.matrix = PackedMatrix(DType::kF32, experts * rows, width, bytes),
            .experts = experts,
            .rows = rows};
    const Floats values = random_floats(rows * width, 1);
    CHECK(all_.matrix.pack(
        {{DType::kF32, 2, {rows, width, 1, 1}}, reinterpret_cast<const std::byte*>(values.data())},
        readable * rows));
    for (int64_t i = 0; i < experts; ++i) {
      if (i != readable) CHECK(::mprotect(bytes + i * kPage, at(kPage), PROT_NONE) == 0);
    }
  }
  ~PagedExperts() { ::munmap(memory_, size_); }
  PagedExperts(const PagedExperts&) = delete;
  PagedExperts& operator=(const PagedExperts&) = delete;

  const ops::ExpertMatrix& all() const { return all_; }

 private:
  size_t size_;
  void* memory_;
  ops::ExpertMatrix all_;
};

TEST(ChosenExpertsTest, AloneAreRead) {
  constexpr int64_t kWidth = 64;
  constexpr int64_t kHidden = 16;
  const PagedExperts gate(5, kHidden, kWidth, 3), up(5, kHidden, kWidth, 3),
      down(5, kWidth, kHidden, 3);
  const Routed result = routed({.chosen = 1}, {0, 0, 0, 9, 0, 1, 2, 3, 4, -1}, 2);
  for (const Isa isa : supported_isas()) {
    const Placed in = converted(isa, {.f32 = true}, random_floats(2 * kWidth, 2), 2);
    const Placed hidden = place({.f32 = true}, 2, kHidden);
    Floats out(at(2 * kWidth));
    LanePool(2).run([&](Lane& lane) {
      const CpuOps cpu(kernels_for(isa));
      cpu.expert_hidden(lane, {.gate = &gate.all(), .up = &up.all()}, in.view, result.dispatch,
                        hidden.view);
      cpu.barrier(lane);
      cpu.expert_linear(lane, down.all(), hidden.view, {}, result.dispatch, rows_of(out, 2));
    });
    EXPECT_TRUE(std::ranges::all_of(out, [](float x) { return x != 0; }));
  }
}

TEST(CombineTest, SumsExpertsBestFirstThenWhatIsShared) {
  const int64_t rows = 7;
  const int64_t width = 33;
  const Routed result = routed({.chosen = 3}, random_floats(rows * 6, 14), rows);
  const Dispatch& d = result.dispatch;
  const Floats outputs = random_floats(d.all_places() * width, 15);
  Floats shared = random_floats(rows * width, 16);
  Floats gates = random_floats(rows, 17);
  const Floats residual = random_floats(rows * width, 18);
  for (const bool weighted : {true, false}) {
    for (const int extras : {0, 1, 2}) {  // nothing shared, something, something with a gate
      ops::Combination combination{.weighted = weighted};
      if (extras > 0) combination.shared = rows_of(shared, rows);
      if (extras > 1) combination.shared_gates = rows_of(gates, rows);
      for (const ops::Store store : {ops::Store::kSet, ops::Store::kAdd}) {
        Floats work = outputs;
        Floats out = residual;
        LanePool(2).run([&](Lane& lane) {
          CpuOps(kernels_for(Isa::kScalar))
              .combine(lane, d, combination, rows_of(work, d.all_places()), store,
                       rows_of(out, rows));
        });
        for (int64_t i = 0; i < rows * width; ++i) {
          const int64_t row = i / width;
          double expected = store == ops::Store::kAdd ? residual[at(i)] : 0;
          for (int64_t j = 0; j < 3; ++j) {
            const double y = outputs[at(d.places[3 * row + j] * width + i % width)];
            expected += y * (weighted ? d.weights[3 * row + j] : 1);
          }
          const double gate = extras > 1 ? 1 / (1 + std::exp(-double{gates[at(row)]})) : 1;
          if (extras > 0) expected += gate * shared[at(i)];
          EXPECT_NEAR(out[at(i)], expected, 2e-6);
        }
      }
    }
  }
}

}  // namespace
}  // namespace millrace
