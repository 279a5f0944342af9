#include "nn/attention/latent.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nn/attention/attention.h"
#include "tests/fixtures/nn/made_weights.h"

namespace millrace {
namespace {

constexpr int64_t kAttentionWidth = 64;
constexpr int32_t kAttentionBlock = 4;

// A body over a cache of one sequence, whose rows come in order.
class AttentionRun {
 public:
  AttentionRun(const Body& body, RopeTable& ropes, const KvSpec& kept, Isa isa, DType cache)
      : body_(body),
        ropes_(ropes),
        isa_(isa),
        cache_(cache),
        bytes_(at(kept.token_bytes * kAttentionBlock * kBlocks), std::byte{0xff}),
        pattern_(kept.pattern) {}

  // The next rows. in: [rows, width].
  Floats forward(const Floats& in, int lanes) {
    const int64_t rows = std::ssize(in) / kAttentionWidth;
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < rows; ++i) positions.push_back(next_++);
    ops::KeyRanges keys;
    pattern_.list(positions, keys);
    const ops::AttentionSlice slice = {
        .row = 0, .rows = static_cast<int32_t>(rows), .write_from = 0, .table = table_};
    const ops::AttentionRows placed = {{&slice, 1}, positions, positions, &keys};
    const KvPlace place = {.rows = &placed,
                           .bytes = {bytes_.data(), std::ssize(bytes_) / kBlocks, kBlocks},
                           .dtype = cache_,
                           .block_tokens = kAttentionBlock};
    Buffer memory = Buffer::allocate(body_.workspace_bytes(rows)).value();
    std::vector<std::byte> carried(at(body_.carried_bytes(place, lanes)) + 64);
    const auto skip = at(-reinterpret_cast<intptr_t>(carried.data()) & 63);
    const ops::Rope rope = ropes_.rope(0);
    Floats angles(at(rows * rope.rotated)), out(in.size());
    const RopeAngles turned = {rope.pairs, rows_of(angles, rows)};
    const Placed placed_in = converted(isa_, body_.input_forms(), in, rows);
    const CpuOps ops(kernels_for(isa_));
    LanePool(lanes).run([&](Lane& lane) {
      ops.rope_angles(lane, rope, positions, rows_of(angles, rows));
      ops.barrier(lane);
      body_.forward(lane,
                    {.ops = ops,
                     .ropes = {&turned, 1},
                     .layer_inputs = {},
                     .place = place,
                     .workspace = memory.data(),
                     .carried = std::span(carried).subspan(skip)},
                    placed_in.view, ops::Store::kSet, rows_of(out, rows));
    });
    return out;
  }
  Floats in_pieces(const Floats& in, int64_t piece, int lanes) {
    Floats out;
    for (int64_t first = 0; first < std::ssize(in); first += piece * kAttentionWidth) {
      const int64_t end = std::min(std::ssize(in), first + piece * kAttentionWidth);
      const Floats part = forward({in.begin() + first, in.begin() + end}, lanes);
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }
  // From its first row again, over what another one keeps.
  void read(const AttentionRun& other) { bytes_ = other.bytes_; }

 private:
  static constexpr int64_t kBlocks = 20;

  const Body& body_;
  RopeTable& ropes_;
  Isa isa_;
  DType cache_;
  std::vector<std::byte> bytes_;
  std::vector<BlockId> table_ = {BlockId{4},  BlockId{0},  BlockId{7},  BlockId{2},  BlockId{9},
                                 BlockId{1},  BlockId{3},  BlockId{19}, BlockId{5},  BlockId{6},
                                 BlockId{8},  BlockId{11}, BlockId{10}, BlockId{12}, BlockId{13},
                                 BlockId{14}, BlockId{15}, BlockId{16}, BlockId{17}, BlockId{18}};
  ops::CausalPattern pattern_;
  int32_t next_ = 0;
};

LatentSpec latent_spec(int64_t query_rank) {
  const NormSpec norm = {.kind = NormSpec::Kind::kRms, .name = "attn_q_a_norm", .epsilon = 1e-3F};
  LatentSpec spec = {.width = kAttentionWidth,
                     .heads = 3,
                     .query_rank = query_rank,
                     .latent_dim = 64,
                     .plain_dim = 32,
                     .rotated_dim = 8,
                     .value_dim = 32,
                     .scale = 0.2F,
                     .rope = RopeSpec{.rotated = 8, .scaling = {}, .factors = {}},
                     .query_norm = norm,
                     .latent_norm = norm};
  spec.latent_norm.name = "attn_kv_a_norm";
  return spec;
}

// What latent attention means: keys and values of each head, made of the latents.
class LatentReference {
 public:
  LatentReference(const LatentSpec& spec, const MadeWeights& weights)
      : spec_(spec), weights_(weights) {}

  std::vector<double> next(std::span<const float> row) {
    const std::vector<double> in(row.begin(), row.end());
    const bool low = spec_.query_rank > 0;
    const std::vector<double> query_in =
        low ? normed("attn_q_a_norm", product("attn_q_a", 0, spec_.query_rank, in)) : in;
    std::vector<double> both = product("attn_kv_a_mqa", 0, spec_.key_dim(), in);
    keys_.push_back(rotated({both.begin() + spec_.latent_dim, both.end()}));
    both.resize(at(spec_.latent_dim));
    latents_.push_back(normed("attn_kv_a_norm", both));
    std::vector<double> mixed;
    for (int64_t head = 0; head < spec_.heads; ++head) {
      const auto plain = product("attn_q_plain", head, spec_.plain_dim, query_in);
      const auto turned = rotated(product("attn_q_rotated", head, spec_.rotated_dim, query_in));
      const auto out = attend(head, plain, turned);
      mixed.insert(mixed.end(), out.begin(), out.end());
    }
    ++position_;
    return product("attn_output", 0, spec_.width, mixed);
  }

 private:
  const Floats& floats(const std::string& name) const { return weights_.floats.find(name)->second; }
  std::vector<double> product(const std::string& name, int64_t head, int64_t rows,
                              const std::vector<double>& in) const {
    std::vector<double> out(at(rows));
    const float* weight = floats(name).data() + head * rows * std::ssize(in);
    for (double& x : out) {
      for (const double y : in) x += double{*weight++} * y;
    }
    return out;
  }
  std::vector<double> normed(const std::string& name, std::vector<double> in) const {
    double squares = 0;
    for (const double x : in) squares += x * x / static_cast<double>(in.size());
    const Floats& weight = floats(name + ".weight");
    for (size_t i = 0; i < in.size(); ++i) in[i] *= weight[i] / std::sqrt(squares + 1e-3);
    return in;
  }
  std::vector<double> rotated(std::vector<double> in) const {
    for (size_t i = 0; i < in.size(); i += 2) {
      const double exponent = static_cast<double>(i) / static_cast<double>(in.size());
      const double angle = position_ * std::pow(10000, -exponent);
      const double x = in[i], y = in[i + 1];
      in[i] = x * std::cos(angle) - y * std::sin(angle);
      in[i + 1] = y * std::cos(angle) + x * std::sin(angle);
    }
    return in;
  }
  std::vector<double> attend(int64_t head, const std::vector<double>& plain,
                             const std::vector<double>& turned) const {
    std::vector<double> out(at(spec_.value_dim));
    double sum = 0;
    for (size_t p = 0; p < latents_.size(); ++p) {
      double score = 0;
      for (int64_t n = 0; n < spec_.plain_dim; ++n) {
        double key = 0;
        for (int64_t l = 0; l < spec_.latent_dim; ++l) {
          const int64_t row = head * spec_.latent_dim + l;
          key += double{floats("attn_k_b")[at(row * spec_.plain_dim + n)]} * latents_[p][at(l)];
        }
        score += plain[at(n)] * key;
      }
      for (size_t d = 0; d < turned.size(); ++d) score += turned[d] * keys_[p][d];
      const double weight = std::exp(score * double{spec_.scale});
      const auto value = product("attn_v_b", head, spec_.value_dim, latents_[p]);
      for (size_t d = 0; d < out.size(); ++d) out[d] += weight * value[d];
      sum += weight;
    }
    for (double& x : out) x /= sum;
    return out;
  }

  const LatentSpec& spec_;
  const MadeWeights& weights_;
  std::vector<std::vector<double>> latents_, keys_;
  int32_t position_ = 0;
};

// A body with its weights and ropes.
template <typename Spec>
struct MadeBody {
  RopeTable ropes;
  std::unique_ptr<Body> body;

  MadeBody(const Spec& spec, Weights& weights) : body(spec.make(ropes)) {
    CHECK(body->load(weights).ok() && ropes.compute_frequencies().ok());
  }
};

TEST(LatentTest, IsAttentionToKeysAndValuesThatLatentsMake) {
  for (const int64_t query_rank : {0, 32}) {
    const LatentSpec spec = latent_spec(query_rank);
    MadeWeights weights(DType::kF32, {.f32 = true});
    MadeBody made(spec, weights);
    AttentionRun run(*made.body, made.ropes, spec.kv(DType::kF32), best_isa(), DType::kF32);
    LatentReference reference(spec, weights);
    const Floats in = random_floats(9 * kAttentionWidth, 31);
    const Floats out = run.in_pieces(in, 5, 2);
    for (int64_t row = 0; row < 9; ++row) {
      const auto expected =
          reference.next(std::span(in).subspan(at(row * kAttentionWidth), at(kAttentionWidth)));
      for (int64_t k = 0; k < kAttentionWidth; ++k) {
        ASSERT_NEAR(out[at(row * kAttentionWidth + k)], expected[at(k)], 1e-4) << row;
      }
    }
  }
}

TEST(LatentTest, BitsDoNotDependOnHowRowsCome) {
  const Floats in = random_floats(70 * kAttentionWidth, 32);
  for (const auto& [format, forms] : {std::pair{DType::kQ8_0, ActivationForms{.q8 = true}},
                                      {DType::kQ4_0, ActivationForms{.q16 = true}},
                                      {DType::kBF16, ActivationForms{.f32 = true}}}) {
    for (const Isa isa : supported_isas()) {
      const LatentSpec spec = latent_spec(32);
      MadeWeights weights(format, forms);
      MadeBody made(spec, weights);
      const auto run = [&](int64_t piece, int lanes) {
        return AttentionRun(*made.body, made.ropes, spec.kv(DType::kF16), isa, DType::kF16)
            .in_pieces(in, piece, lanes);
      };
      const Floats all = run(70, 1);
      EXPECT_EQ(bits_of(run(1, 2)), bits_of(all)) << name_of(isa);
      EXPECT_EQ(bits_of(run(33, 3)), bits_of(all)) << name_of(isa);
    }
  }
}

TEST(LatentTest, ATokenCostsWhatIsKeptOnce) {
  const LatentSpec spec = latent_spec(32);
  EXPECT_EQ(spec.kv(DType::kF16).token_bytes, 2 * (64 + 8));
  EXPECT_EQ(spec.heads_token_bytes(DType::kF16), 3 * 2 * (32 + 8 + 32));
}

// Gives each name the weights that it gave it first.
class SameWeights final : public Weights {
 public:
  explicit SameWeights(MadeWeights& made) : made_(made) {}

  absl::StatusOr<std::vector<PackedMatrix>> matrices(std::span<const MatrixOrder> orders) override {
    std::vector<PackedMatrix> given;
    for (const MatrixOrder& order : orders) {
      const std::string name(order.name);
      if (!kept_.contains(name)) kept_[name] = made_.matrices({&order, 1}).value()[0];
      given.push_back(kept_[name]);
    }
    return given;
  }
  absl::StatusOr<PackedMatrix> experts(const ExpertOrder& order) override {
    return made_.experts(order);
  }
  absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) override {
    return made_.vectors(orders);
  }
  ActivationForms input_forms(DType format, InputForm form) const override {
    return made_.input_forms(format, form);
  }

 private:
  MadeWeights& made_;
  std::map<std::string, PackedMatrix> kept_;
};

// Cross-layer attention (Brandon et al. 2024): with the same queries, over what an earlier layer
// keeps, a layer that keeps nothing attends as that one does.
TEST(AttentionTest, ALayerMayReadWhatAnEarlierOneKeeps) {
  AttentionSpec keeper = {.width = kAttentionWidth, .heads = 4, .kv_heads = 2, .head_dim = 16};
  keeper.window = 7;
  keeper.scale = 0.25F;
  keeper.rope = RopeSpec{.rotated = 16, .scaling = {}, .factors = {}};
  keeper.value_norm = {
      .kind = NormSpec::Kind::kRms, .name = {}, .epsilon = 1e-5F, .has_weight = false};
  AttentionSpec reader = keeper;
  reader.shared = 0;
  EXPECT_EQ(reader.kv(DType::kF16).token_bytes, keeper.kv(DType::kF16).token_bytes);
  EXPECT_EQ(reader.kv(DType::kF16).shared, 0);
  const Floats in = random_floats(40 * kAttentionWidth, 33);
  MadeWeights made(DType::kQ8_0, {.q16 = true});
  SameWeights weights(made);
  MadeBody keeps(keeper, weights);
  MadeBody reads(reader, weights);
  AttentionRun first(*keeps.body, keeps.ropes, keeper.kv(DType::kF16), best_isa(), DType::kF16);
  AttentionRun second(*reads.body, reads.ropes, reader.kv(DType::kF16), best_isa(), DType::kF16);
  const Floats expected = first.in_pieces(in, 40, 2);
  second.read(first);
  EXPECT_EQ(bits_of(second.in_pieces(in, 3, 3)), bits_of(expected));
}

}  // namespace
}  // namespace millrace
