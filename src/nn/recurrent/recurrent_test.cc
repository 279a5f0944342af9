#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nn/layer.h"
#include "tests/fixtures/nn/made_weights.h"
#include "tests/fixtures/nn/recurrent_reference.h"

namespace millrace {
namespace {

constexpr int64_t kWidth = 48;

NormSpec rms(std::string_view name) {
  NormSpec norm;
  norm.kind = NormSpec::Kind::kRms;
  norm.name = name;
  norm.epsilon = 1e-3F;
  return norm;
}

std::vector<BodySpec> state_space_specs() {
  MambaSpec mamba;
  mamba.width = kWidth;
  mamba.inner = 72;
  mamba.state_dim = 5;
  mamba.step_rank = 6;
  mamba.conv_kernel = 4;
  MambaSpec jamba = mamba;
  jamba.step_norm = rms("ssm_dt_norm");
  jamba.b_norm = rms("ssm_b_norm");
  jamba.c_norm = rms("ssm_c_norm");
  jamba.conv_bias = false;
  jamba.biases = true;
  MambaSpec falcon_mamba = jamba;
  falcon_mamba.step_norm.has_weight = falcon_mamba.b_norm.has_weight =
      falcon_mamba.c_norm.has_weight = false;

  Mamba2Spec mamba2;
  mamba2.width = kWidth;
  mamba2.inner = 80;
  mamba2.heads = 8;
  mamba2.groups = 2;
  mamba2.state_dim = 12;
  mamba2.conv_kernel = 4;
  mamba2.norm = rms("ssm_norm");
  Mamba2Spec falcon_h1 = mamba2;
  falcon_h1.norm_before_gate = falcon_h1.input_bias = falcon_h1.output_bias = true;
  falcon_h1.step_smallest = 0.5F;
  falcon_h1.step_largest = 1;
  Mamba2Spec plain = mamba2;
  plain.norm = {};
  plain.groups = 1;
  plain.conv_bias = false;

  return {mamba, jamba, falcon_mamba, mamba2, falcon_h1, plain};
}

std::vector<BodySpec> attention_like_specs() {
  DeltaNetSpec qwen3_next;
  qwen3_next.width = kWidth;
  qwen3_next.heads = 6;
  qwen3_next.key_heads = 2;
  qwen3_next.key_dim = 8;
  qwen3_next.value_dim = 10;
  qwen3_next.conv_kernel = 4;
  qwen3_next.norm = rms("ssm_norm");
  DeltaNetSpec qwen3_5 = qwen3_next;
  qwen3_5.tensors = DeltaNetSpec::Tensors::kApart;
  qwen3_5.heads_in_turn = true;
  DeltaNetSpec kimi = qwen3_next;
  kimi.tensors = DeltaNetSpec::Tensors::kLowRank;
  kimi.key_heads = 6;
  kimi.rank = 9;
  kimi.gate = {.kind = ops::ElementFunction::Kind::kSigmoid};

  LinearAttentionSpec lightning;
  lightning.width = kWidth;
  lightning.heads = 4;
  lightning.key_dim = lightning.value_dim = 12;
  lightning.joined = true;
  lightning.feature = LinearAttentionSpec::Feature::kSilu;
  lightning.decays = lightning_decays(4, 1, 3);
  lightning.norm = rms("attn_norm_2");
  lightning.gate = LinearAttentionSpec::Gate::kSigmoid;
  LinearAttentionSpec linear = lightning;
  linear.joined = false;
  linear.feature = LinearAttentionSpec::Feature::kEluPlusOne;
  linear.normaliser = LinearAttentionSpec::Normaliser::kKeys;
  linear.decays = {1, 1, 1, 1};
  linear.norm = {};
  linear.gate = LinearAttentionSpec::Gate::kNone;
  LinearAttentionSpec retention = linear;
  retention.feature = LinearAttentionSpec::Feature::kNone;
  retention.normaliser = LinearAttentionSpec::Normaliser::kRootOfDecays;
  retention.value_dim = 24;
  retention.decays = retention_decays(4);
  retention.scale = 0.25F;
  retention.rope = retention_rope(12);
  retention.norm = rms("");
  retention.norm.has_weight = false;
  retention.norm_heads = true;
  retention.gate = LinearAttentionSpec::Gate::kSilu;

  ShortConvSpec short_conv;
  short_conv.width = kWidth;
  short_conv.conv_kernel = 3;
  ShortConvSpec biased = short_conv;
  biased.biases = true;
  return {qwen3_next, qwen3_5, kimi, lightning, linear, retention, short_conv, biased};
}

std::vector<BodySpec> body_specs() {
  std::vector<BodySpec> specs = state_space_specs();
  for (const BodySpec& spec : attention_like_specs()) specs.push_back(spec);
  return specs;
}

// Two sequences, whose rows lie one behind the other.
constexpr int32_t kFirstRows[] = {0, 11, 17};
constexpr int64_t kRows = 17;

// Rows [begin, end) of one of them.
struct Piece {
  int32_t sequence, begin, end;
};

// A body with its weights and its states.
class RunnableBody {
 public:
  explicit RunnableBody(const BodySpec& spec) {
    stride_ = kv_spec(spec, DType::kF32).sequence_bytes;
    states_ = Buffer::allocate(2 * stride_).value();
    body_ = std::visit([&](const auto& made) { return made.make(ropes_); }, spec);
    CHECK(body_->load(weights_).ok() && ropes_.compute_frequencies().ok());
    CHECK(stride_ > 0 && stride_ % 64 == 0);
    std::fill_n(reinterpret_cast<float*>(states_.data()), stride_ / 2,
                std::numeric_limits<float>::quiet_NaN());
  }

  const MadeWeights& weights() const { return weights_; }

  // Each call with the rows of some pieces, in that order. in, result: [kRows, kWidth].
  Floats operator()(Isa isa, int lanes, const Floats& in,
                    const std::vector<std::vector<Piece>>& calls) {
    Floats result(in.size());
    for (const std::vector<Piece>& call : calls) {
      Floats rows;
      std::vector<int32_t> positions;
      std::vector<ops::StateSlice> slices;
      for (const Piece& piece : call) {
        const int32_t first = kFirstRows[piece.sequence];
        slices.push_back({.row = static_cast<int32_t>(positions.size()),
                          .rows = piece.end - piece.begin,
                          .unit = piece.sequence,
                          .begins = piece.begin == 0});
        for (int32_t i = piece.begin; i < piece.end; ++i) positions.push_back(i);
        rows.insert(rows.end(), in.begin() + (first + piece.begin) * kWidth,
                    in.begin() + (first + piece.end) * kWidth);
      }
      const Floats out = step(isa, lanes, rows, positions, {slices});
      int64_t done = 0;
      for (const Piece& piece : call) {
        const int64_t count = (piece.end - piece.begin) * kWidth;
        std::copy_n(out.begin() + done, count,
                    result.begin() + (kFirstRows[piece.sequence] + piece.begin) * kWidth);
        done += count;
      }
    }
    return result;
  }

 private:
  Floats step(Isa isa, int lanes, const Floats& in, const std::vector<int32_t>& positions,
              const ops::StateRows& rows) {
    const auto count = static_cast<int64_t>(positions.size());
    const Placed placed = converted(isa, body_->input_forms(), in, count);
    const Buffer memory = Buffer::allocate(body_->workspace_bytes(count)).value();
    const CpuOps ops(kernels_for(isa));
    Floats angles(at(count * (ropes_.size() > 0 ? ropes_.rope(0).rotated : 0)));
    const RopeAngles rope = {ops::Rope::Pairs::kNeighbours, rows_of(angles, count)};
    Floats out(in.size());
    LanePool(lanes).run([&](Lane& lane) {
      if (ropes_.size() > 0) {
        ops.rope_angles(lane, ropes_.rope(0), positions, rows_of(angles, count));
        lane.barrier();
      }
      BodyContext context = {.ops = ops,
                             .ropes = {&rope, 1},
                             .layer_inputs = {},
                             .place = {},
                             .workspace = memory.data(),
                             .carried = {}};
      context.place.states = &rows;
      context.place.bytes.data = states_.data();
      context.place.bytes.stride = stride_;
      body_->forward(lane, context, placed.view, ops::Store::kSet, rows_of(out, count));
    });
    return out;
  }

  MadeWeights weights_{DType::kF32, {.f32 = true}};
  int64_t stride_ = 0;
  Buffer states_;
  RopeTable ropes_;
  std::unique_ptr<Body> body_;
};

const std::vector<std::vector<Piece>> kWhole = {{{0, 0, 11}, {1, 0, 6}}};

TEST(RecurrentBodies, AreWhatTheyAreDefinedAs) {
  const Floats in = random_floats(kRows * kWidth, 31);
  for (const BodySpec& spec : body_specs()) {
    SCOPED_TRACE(spec.index());
    RunnableBody body(spec);
    const Floats out = body(best_isa(), 2, in, kWhole);
    for (size_t sequence = 0; sequence < 2; ++sequence) {
      Lines lines;
      for (int64_t row = kFirstRows[sequence]; row < kFirstRows[sequence + 1]; ++row) {
        lines.emplace_back(in.begin() + row * kWidth, in.begin() + (row + 1) * kWidth);
      }
      const Recipe recipe(body.weights());
      const Lines wanted = std::visit(
          [&](const auto& made) -> Lines {
            if constexpr (requires { expected(made, recipe, lines); }) {
              return expected(made, recipe, lines);
            }
            return {};
          },
          spec);
      double top = 0;
      for (const Line& line : wanted) {
        for (const double x : line) top = std::max(top, std::fabs(x));
      }
      for (size_t t = 0; t < lines.size(); ++t) {
        for (size_t i = 0; i < at(kWidth); ++i) {
          const float got = out[(at(kFirstRows[sequence]) + t) * at(kWidth) + i];
          ASSERT_NEAR(got, wanted[t][i], 2e-5 * top) << "row " << t;
        }
      }
    }
  }
}

TEST(RecurrentBodies, AreTheSameHoweverRowsAreCut) {
  const Floats in = random_floats(kRows * kWidth, 32);
  for (const BodySpec& spec : body_specs()) {
    SCOPED_TRACE(spec.index());
    for (const Isa isa : supported_isas()) {
      RunnableBody body(spec);
      const Floats whole = body(isa, 1, in, kWhole);
      const Floats cut = body(
          isa, 3, in, {{{1, 0, 1}, {0, 0, 4}}, {{0, 4, 5}}, {{0, 5, 11}, {1, 1, 5}}, {{1, 5, 6}}});
      EXPECT_EQ(bits_of(whole), bits_of(cut)) << name_of(isa);
    }
  }
}

TEST(RecurrentBodies, RefuseStatesThatAreTooLarge) {
  MadeWeights weights(DType::kF32, {.f32 = true});
  RopeTable ropes;
  Mamba2Spec mamba2 = std::get<Mamba2Spec>(body_specs()[3]);
  mamba2.state_dim = 2048;
  EXPECT_EQ(mamba2.make(ropes)->load(weights).message(),
            "states of 2048 rows are not supported, at most 1024 are");
  ShortConvSpec short_conv;
  short_conv.width = kWidth;
  short_conv.conv_kernel = 33;
  EXPECT_EQ(short_conv.make(ropes)->load(weights).message(),
            "'shortconv.conv.weight' weighs 33 inputs, but at most 32 are supported");
}

}  // namespace
}  // namespace millrace
