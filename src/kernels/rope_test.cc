#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/ops.h"
#include "tensor/float_bits.h"
#include "tests/fixtures/kernels/attention_harness.h"

namespace millrace {
namespace {

using Head = std::vector<double>;
using Place = ops::HeadNorms::Place;

// A head's norm by its definition, in double. Weights for each head lie behind each other.
void norm_head(const ops::Norm& norm, int64_t number, Head& head) {
  const auto size = static_cast<double>(head.size());
  double mean = 0;
  for (const double x : head) mean += x / size;
  if (norm.kind == ops::Norm::Kind::kRms) mean = 0;
  double squares = 0;
  for (double& x : head) {
    x -= mean;
    squares += x * x;
  }
  const double root = std::sqrt(squares / size + norm.epsilon);
  const auto of = [&](std::span<const float> vector, size_t d, double otherwise) {
    if (vector.empty()) return otherwise;
    const size_t first =
        vector.size() > head.size() ? static_cast<size_t>(number) * head.size() : 0;
    return double{vector[first + d]};
  };
  for (size_t d = 0; d < head.size(); ++d) {
    head[d] = head[d] / root * of(norm.weight, d, 1) + of(norm.bias, d, 0);
  }
}

// The rotation by its definition, in double, of dimensions from `begin` on. angle(i): of pair i.
template <typename Angle>
void rotate(const ops::Rope& rope, Angle angle, size_t begin, Head& head) {
  const auto pairs = static_cast<size_t>(rope.rotated / 2);
  for (size_t i = 0; i < pairs; ++i) {
    const bool halves = rope.pairs == ops::Rope::Pairs::kHalves;
    double& first = head[begin + (halves ? i : 2 * i)];
    double& second = head[begin + (halves ? i + pairs : 2 * i + 1)];
    const double cosine = std::cos(angle(i)) * rope.magnitude;
    const double sine = std::sin(angle(i)) * rope.magnitude;
    const double x = first;
    first = x * cosine - second * sine;
    second = second * cosine + x * sine;
  }
}

// What norms of heads there are.
struct HeadNormCase {
  Place place = Place::kNone;
  ops::Norm::Kind kind = ops::Norm::Kind::kRms;
  bool weights = true;
  bool biases = false;
  bool for_each_head = false;
};

constexpr int32_t kQueryHeads = 4;
constexpr int32_t kHeads = 2;

struct RopeCase {
  ops::Rope::Pairs pairs;
  int32_t head_dim, rotated, block_tokens;
  HeadNormCase norm = {};
  float temperature = 0;
  int32_t temperature_offset = 0;
  int32_t first = 0;  // dimensions before those that are rotated
  bool norms_values = false;
  int32_t latent_dim = 0;  // of keys that are latents; 0: they are not

  int32_t heads() const { return latent_dim > 0 ? 1 : kHeads; }
};

// A case with its numbers: two slices, the second with a slot for each position from 3 on and
// shared blocks below position 5.
class RopeRun {
 public:
  RopeRun(Isa isa, DType dtype, const RopeCase& test)
      : test_(test),
        config_{.isa = isa,
                .dtype = dtype,
                .shape = {test.head_dim, kQueryHeads, test.heads(), test.latent_dim,
                          test.latent_dim > 0},
                .block_tokens = test.block_tokens,
                .window = 0,
                .scale = 1},
        first_(make_sequence(config_, 9, 21)),
        second_(make_sequence(config_, 8, 22)),
        cache_(config_, 40) {
    for (int32_t i = 0; i < test.rotated / 2; ++i) {
      const float share = static_cast<float>(i) / static_cast<float>(test.rotated);
      frequencies_.push_back(std::pow(10000.0F, -2 * share));
    }
    rope_ = {.pairs = test.pairs,
             .rotated = test.rotated,
             .frequencies = frequencies_,
             .magnitude = 1.25F};
    const HeadNormCase& norm = test.norm;
    for (uint32_t i = 0; i < 4; ++i) {
      const int32_t heads = norm.for_each_head ? (i < 2 ? kQueryHeads : test.heads()) : 1;
      if (i % 2 == 0 ? norm.weights : norm.biases) {
        norm_vectors_[i] = uniform_floats(test.head_dim * heads, 11 + i);
      }
    }
    rotation_ = {.pairs = test.pairs,
                 .first = test.first,
                 .norms = {.place = norm.place,
                           .query = {norm.kind, norm_vectors_[0], norm_vectors_[1], 1e-5F},
                           .key = {norm.kind, norm_vectors_[2], norm_vectors_[3], 1e-5F}},
                 .temperature = test.temperature,
                 .temperature_length = 3,
                 .temperature_offset = test.temperature_offset};
    value_weights_ = uniform_floats(test.head_dim, 17);
    const ops::Norm value_norm = {.weight = value_weights_, .epsilon = 1e-5F};
    if (test.norms_values) rotation_.norms.value = value_norm;
    cache_.place(first_);
    cache_.place(second_);
    batch_.emplace(config_, std::vector<Part>{{&first_, 0, 9}, {&second_, 3, 8}});
    batch_->slices[1].write_from = 5;
    before_ = batch_->queries;
  }

  // What rope_and_store makes of it.
  void run(int lanes, bool queries_alone = false) {
    std::vector<float> angles(static_cast<size_t>(batch_->rows() * test_.rotated));
    rotation_.angles = batch_->view(angles, test_.rotated);
    const CpuOps ops(kernels_for(config_.isa));
    const Rows<const float> none = {nullptr, batch_->rows(), 0, 0};
    LanePool(lanes).run([&](Lane& lane) {
      ops.rope_angles(lane, rope_, batch_->positions, batch_->view(angles, test_.rotated));
      lane.barrier();
      ops.rope_and_store(
          lane, batch_->places(), rotation_, batch_->view(batch_->queries, batch_->query_width),
          queries_alone ? none : batch_->view(batch_->keys, batch_->width),
          queries_alone ? none : batch_->view(batch_->values, batch_->value_width), cache_.layer());
    });
  }

  void check() const {
    SCOPED_TRACE(fmt::format("{} rotated {} norm {} temperature {}", config_.name(), test_.rotated,
                             static_cast<int>(test_.norm.place), test_.temperature));
    for (int64_t row = 0; row < batch_->rows(); ++row) {
      check_queries(row);
      for (int64_t head = 0; head < test_.heads(); ++head) check_key(row, head);
    }
  }

  const std::vector<float>& queries() const { return batch_->queries; }
  std::vector<float> stored() const {
    std::vector<float> all;
    for (const TestSequence* sequence : {&first_, &second_}) {
      for (int32_t position = 0; position < sequence->length; ++position) {
        for (int64_t head = 0; head < test_.heads(); ++head) {
          for (int64_t d = 0; d < test_.head_dim; ++d) {
            all.push_back(key_at(*sequence, position, head, d));
            if (test_.latent_dim == 0) all.push_back(value_at(*sequence, position, head, d));
          }
        }
      }
    }
    return all;
  }

 private:
  // Norm, sine, cosine, magnitude and temperature each round once or twice, two products and two
  // sums: 14 u of values that the rotation keeps below 2 * 1.25 * the temperature's 1.5 * the
  // norm's growth (at most sqrt(head_dim)) and a bias of 1.
  double exact() const { return 14 * 0x1p-24 * 3.75 * (std::sqrt(test_.head_dim) + 1); }

  Head expected(Head head, const ops::Norm& norm, int64_t number, int64_t row) const {
    const auto position = static_cast<float>(position_of(row));
    if (test_.norm.place == Place::kBeforeRotation) norm_head(norm, number, head);
    rotate(
        rope_, [&](size_t i) { return double{position * frequencies_[i]}; },
        static_cast<size_t>(test_.first), head);
    if (test_.norm.place == Place::kAfterRotation) norm_head(norm, number, head);
    return head;
  }
  Head head_of(const std::vector<float>& from, int64_t width, int64_t row, int64_t head) const {
    const auto begin = from.begin() + row * width + head * test_.head_dim;
    return {begin, begin + test_.head_dim};
  }
  int32_t position_of(int64_t row) const { return batch_->positions[static_cast<size_t>(row)]; }
  float read(const std::byte* at) const {
    if (config_.dtype == DType::kF32) return *reinterpret_cast<const float*>(at);
    const uint16_t bits = *reinterpret_cast<const uint16_t*>(at);
    return config_.dtype == DType::kF16 ? f32_of_f16(bits) : f32_of_bf16(bits);
  }
  int64_t start_of(const TestSequence& sequence, int32_t position, int64_t head) const {
    const KvLayer& layer = cache_.layer();
    const BlockId block = sequence.table[static_cast<size_t>(position / test_.block_tokens)];
    return block.value * layer.block_stride + head * layer.head_stride;
  }
  float key_at(const TestSequence& sequence, int32_t position, int64_t head, int64_t d) const {
    if (test_.latent_dim > 0) {
      const int64_t element = position % test_.block_tokens * test_.head_dim + d;
      return read(cache_.layer().keys + start_of(sequence, position, head) +
                  element * row_bytes(config_.dtype, 1));
    }
    return read(cache_.layer().keys + start_of(sequence, position, head) +
                key_place(config_, position % test_.block_tokens, d) * row_bytes(config_.dtype, 1));
  }
  float value_at(const TestSequence& sequence, int32_t position, int64_t head, int64_t d) const {
    return read(cache_.layer().values + start_of(sequence, position, head) +
                value_place(config_, position % test_.block_tokens, d) *
                    row_bytes(config_.dtype, 1));
  }

  void check_queries(int64_t row) const {
    const double lengths = (position_of(row) + test_.temperature_offset) / 3;
    const double factor = 1 + test_.temperature * std::log(1 + lengths);
    for (int64_t head = 0; head < kQueryHeads; ++head) {
      const Head want = expected(head_of(before_, batch_->query_width, row, head),
                                 rotation_.norms.query, head, row);
      const Head got = head_of(batch_->queries, batch_->query_width, row, head);
      for (size_t d = 0; d < want.size(); ++d) ASSERT_NEAR(got[d], want[d] * factor, exact());
    }
  }
  void check_key(int64_t row, int64_t head) const {
    const bool of_second = row >= 9;
    const TestSequence& sequence = of_second ? second_ : first_;
    const double unit = config_.dtype == DType::kF16    ? 0x1p-11
                        : config_.dtype == DType::kBF16 ? 0x1p-8
                                                        : 0;
    const Head want =
        expected(head_of(batch_->keys, batch_->width, row, head), rotation_.norms.key, head, row);
    Head values;
    if (test_.latent_dim == 0) values = head_of(batch_->values, batch_->width, row, head);
    if (test_.norms_values) norm_head(*rotation_.norms.value, head, values);
    for (size_t d = 0; d < want.size(); ++d) {
      const float key = key_at(sequence, position_of(row), head, static_cast<int64_t>(d));
      const bool is_shared = of_second && position_of(row) < 5;
      if (is_shared) {
        ASSERT_TRUE(std::isnan(key)) << "a shared block was written";
      } else {
        ASSERT_NEAR(key, want[d], exact() + std::fabs(want[d]) * unit + 0x1p-25);
      }
      if (test_.latent_dim > 0) continue;
      const float value = value_at(sequence, position_of(row), head, static_cast<int64_t>(d));
      if (is_shared) {
        ASSERT_TRUE(std::isnan(value)) << "a shared block was written";
      } else if (test_.norms_values) {
        ASSERT_NEAR(value, values[d], exact() + std::fabs(values[d]) * unit + 0x1p-25);
      } else {
        ASSERT_EQ(value, rounded(config_.dtype, static_cast<float>(values[d])));
      }
    }
  }

  RopeCase test_;
  Config config_;
  TestSequence first_, second_;
  TestCache cache_;
  std::vector<float> frequencies_;
  std::vector<float> norm_vectors_[4];  // weight and bias of queries, then of keys
  std::vector<float> value_weights_;
  ops::Rope rope_;
  ops::Rotation rotation_;
  std::optional<TestBatch> batch_;
  std::vector<float> before_;  // queries
};

constexpr auto kHalves = ops::Rope::Pairs::kHalves;
constexpr auto kNeighbours = ops::Rope::Pairs::kNeighbours;
constexpr auto kLayerHeads = ops::Norm::Kind::kLayer;
constexpr auto kRmsHeads = ops::Norm::Kind::kRms;

// As the models have them, from the top: Llama, Qwen 3, Hunyuan, Llama 4 (with its rotation and
// without), Phi-2, Cohere, StableLM, Ministral 3, GPT-2, Gemma 4, DeepSeek-V2.
constexpr RopeCase kRopeCases[] = {
    {kHalves, 64, 64, 16},
    {kNeighbours, 64, 64, 16},
    {kNeighbours, 8, 8, 32},
    {kHalves, 128, 128, 3, {.place = Place::kBeforeRotation}},
    {kHalves, 64, 64, 16, {.place = Place::kAfterRotation}},
    {kNeighbours, 20, 12, 1, {.place = Place::kAfterRotation, .weights = false}},
    {kNeighbours, 64, 0, 16, {}, 0.3F, 1},
    {kHalves, 80, 20, 4, {.place = Place::kBeforeRotation, .kind = kLayerHeads, .biases = true}},
    {kNeighbours, 64, 64, 5, {Place::kBeforeRotation, kLayerHeads, true, false, true}},
    {kHalves, 48, 12, 4, {Place::kAfterRotation, kLayerHeads, true, true, true}},
    {kHalves, 80, 80, 4, {Place::kBeforeRotation, kRmsHeads, true, false, true}, 0.3F},
    {kHalves, 256, 0, 16},
    {.pairs = kHalves,
     .head_dim = 512,
     .rotated = 512,
     .block_tokens = 16,
     .norm = {.place = Place::kBeforeRotation},
     .norms_values = true},
    {.pairs = kNeighbours,
     .head_dim = 576,
     .rotated = 64,
     .block_tokens = 16,
     .first = 512,
     .latent_dim = 512},
    {.pairs = kHalves,
     .head_dim = 21,
     .rotated = 6,
     .block_tokens = 3,
     .first = 15,
     .latent_dim = 15},
};

TEST(Rope, NormsRotatesAndStores) {
  for (const Isa isa : isas()) {
    for (const DType dtype : kCacheTypes) {
      int lanes = 0;
      for (const RopeCase& test : kRopeCases) {
        RopeRun run(isa, dtype, test);
        run.run(lanes++ % 4 + 1);
        run.check();
      }
    }
  }
}

// Where keys are another layer's, queries become the same as beside them.
TEST(Rope, QueriesAloneAreTheSameAndNothingIsStored) {
  for (const Isa isa : isas()) {
    for (const RopeCase& test : kRopeCases) {
      RopeRun both(isa, DType::kF16, test);
      RopeRun alone(isa, DType::kF16, test);
      both.run(2);
      alone.run(3, true);
      EXPECT_EQ(alone.queries(), both.queries());
      EXPECT_TRUE(std::ranges::all_of(alone.stored(), [](float x) { return std::isnan(x); }));
    }
  }
}

TEST(Rope, PortableTwinsGiveTheBitsOfTheirInstructionSets) {
  const std::pair<Isa, Isa> twins[] = {{Isa::kAvx2, Isa::kPortable8},
                                       {Isa::kAvx512, Isa::kPortable16}};
  for (const auto& [tier, twin] : twins) {
    if (!is_supported(tier)) continue;
    for (const RopeCase& test : kRopeCases) {
      RopeRun of_tier(tier, DType::kF32, test);
      RopeRun of_twin(twin, DType::kF32, test);
      of_tier.run(1);
      of_twin.run(2);
      EXPECT_EQ(of_tier.queries(), of_twin.queries());
      const std::vector<float> a = of_tier.stored();
      const std::vector<float> b = of_twin.stored();
      EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
    }
  }
}

}  // namespace
}  // namespace millrace
