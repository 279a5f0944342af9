#include "nn/residual/altup.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tensor/buffer.h"
#include "tests/fixtures/nn/made_weights.h"

namespace millrace {
namespace {

using Stream = std::vector<double>;

AltUpSpec altup_of(int64_t streams, int64_t active) {
  return {
      .streams = streams,
      .active = active,
      .router_norm = {.kind = NormSpec::Kind::kRms, .name = "altup_router_norm", .epsilon = 1e-3F}};
}

// One row, as plainly as possible.
class AltUpReference {
 public:
  AltUpReference(const AltUpSpec& spec, const MadeWeights& weights)
      : spec_(spec), weights_(weights) {}

  void predict(std::vector<Stream>& streams) const {
    const std::vector<Stream> before = streams;
    const Stream modes = modes_of(before[at(spec_.active)]);
    const Floats& weights = floats("altup_predict_coef.weight");
    for (size_t i = 0; i < streams.size(); ++i) {
      for (size_t j = 0; j < streams.size(); ++j) {
        double coefficient = 0;
        for (size_t k = 0; k < modes.size(); ++k) {
          coefficient += weights[(i * modes.size() + j) * modes.size() + k] * modes[k];
        }
        for (size_t d = 0; d < before[j].size(); ++d) streams[i][d] += coefficient * before[j][d];
      }
    }
  }

  // Returns the scaled active stream.
  Stream correct(const Stream& predicted, std::vector<Stream>& streams) const {
    const Stream became = streams[at(spec_.active)];
    const Stream modes = modes_of(became);
    const Floats& weights = floats("altup_correct_coef.weight");
    streams[at(spec_.active)] = predicted;
    for (size_t i = 0; i < streams.size(); ++i) {
      double coefficient = 1;
      for (size_t k = 0; k < modes.size(); ++k) {
        coefficient += weights[i * modes.size() + k] * modes[k];
      }
      for (size_t d = 0; d < became.size(); ++d) {
        streams[i][d] += coefficient * (became[d] - predicted[d]);
      }
    }
    Stream scaled = streams[at(spec_.active)];
    const Floats& scale = floats("altup_correct_scale.weight");
    for (size_t d = 0; d < scaled.size(); ++d) scaled[d] *= scale[d];
    return scaled;
  }

  // The matrix of stream i of all that make, or end, streams.
  Stream projected(const char* name, size_t i, const Stream& in, const Stream& like) const {
    const Floats& matrices = floats(name);
    Stream out(in.size());
    for (size_t row = 0; row < in.size(); ++row) {
      const size_t first = ((i - 1) * in.size() + row) * in.size();
      for (size_t k = 0; k < in.size(); ++k) out[row] += matrices[first + k] * in[k];
    }
    const double factor = std::sqrt(square(like)) / std::sqrt(std::max(1e-5, square(out)));
    for (double& x : out) x *= factor;
    return out;
  }

 private:
  const Floats& floats(const char* name) const { return weights_.floats.find(name)->second; }
  static double square(const Stream& x) {
    double sum = 0;
    for (const double value : x) sum += value * value / static_cast<double>(x.size());
    return sum;
  }
  Stream modes_of(const Stream& active) const {
    const Floats& norm = floats("altup_router_norm.weight");
    const Floats& router = floats("altup_router");
    const double scale = 1 / std::sqrt(square(active) + double{spec_.router_norm.epsilon});
    Stream modes(at(spec_.streams));
    for (size_t i = 0; i < modes.size(); ++i) {
      for (size_t k = 0; k < active.size(); ++k) {
        modes[i] += router[i * active.size() + k] * active[k] * scale * norm[k];
      }
      modes[i] = std::tanh(modes[i] / static_cast<double>(active.size()));
    }
    return modes;
  }

  const AltUpSpec& spec_;
  const MadeWeights& weights_;
};

std::vector<Stream> streams_of(const Floats& all, int64_t row, int64_t count, int64_t width) {
  std::vector<Stream> streams;
  for (int64_t i = 0; i < count; ++i) {
    const auto first = all.begin() + (row * count + i) * width;
    streams.emplace_back(first, first + width);
  }
  return streams;
}

void expect_near(const Floats& all, int64_t row, const std::vector<Stream>& expected) {
  const auto width = expected[0].size();
  for (size_t i = 0; i < expected.size() * width; ++i) {
    const double wanted = expected[i / width][i % width];
    ASSERT_NEAR(all[at(row) * expected.size() * width + i], wanted, 2e-5) << row << " " << i;
  }
}

struct AltUpCase {
  int64_t streams;
  int64_t active;
  int64_t width;
};

// Values are of size one.
TEST(AltUpTest, PredictsCorrectsAndSpreads) {
  for (const AltUpCase& test :
       {AltUpCase{4, 0, 64}, {2, 1, 37}, {3, 2, 300}, {ops::kStreamsMax, 5, 32}}) {
    const AltUpSpec spec = altup_of(test.streams, test.active);
    MadeWeights weights(DType::kF32, {.f32 = true});
    AltUp altup;
    ASSERT_TRUE(altup.load(spec, test.width, weights).ok());
    const AltUpReference reference(spec, weights);
    const CpuOps ops(kernels_for(best_isa()));
    for (const int64_t rows : {1, 7}) {
      const Floats before = random_floats(rows * spec.streams * test.width, 31);
      const Floats change = random_floats(rows * test.width, 32);
      Floats after = before, predicted(change.size()), middle, aside(change.size());
      const Buffer memory = Buffer::allocate(altup.workspace_bytes(rows)).value();
      LanePool pool(2);
      pool.run([&](Lane& lane) {
        altup.predict(lane, ops, memory.data(), rows_of(after, rows), rows_of(predicted, rows));
      });
      middle = after;
      aside = predicted;
      pool.run([&](Lane& lane) {
        const Rows<float> streams = rows_of(after, rows);
        ops.add(lane, {change.data(), rows, test.width, test.width}, nullptr, 1,
                altup.active_of(streams));
        ops.barrier(lane);
        altup.correct(lane, ops, memory.data(), streams, rows_of(aside, rows));
        altup.spread(lane, ops, rows_of(aside, rows), streams);
      });
      for (int64_t row = 0; row < rows; ++row) {
        std::vector<Stream> expected = streams_of(before, row, spec.streams, test.width);
        reference.predict(expected);
        expect_near(middle, row, expected);
        Stream& active = expected[at(spec.active)];
        const Stream prediction = active;
        expect_near(predicted, row, {prediction});
        for (size_t d = 0; d < active.size(); ++d) active[d] += change[at(row * test.width) + d];
        const Stream scaled = reference.correct(prediction, expected);
        expect_near(aside, row, {scaled});
        for (size_t i = 1; i < expected.size(); ++i) {
          for (size_t d = 0; d < scaled.size(); ++d) expected[i][d] += scaled[d];
        }
        expect_near(after, row, expected);
      }
    }
  }
}

TEST(AltUpTest, StreamsBeginAndEndAsProjectionsOfTheSameMagnitude) {
  for (const AltUpCase& test : {AltUpCase{4, 0, 64}, {2, 0, 37}, {3, 0, 96}}) {
    const AltUpSpec spec = altup_of(test.streams, test.active);
    MadeWeights weights(DType::kF32, {.f32 = true});
    AltUpEnds ends;
    ASSERT_TRUE(ends.load(spec, test.width, weights).ok());
    const AltUpReference reference(spec, weights);
    const CpuOps ops(kernels_for(best_isa()));
    const int64_t rows = 5;
    const Floats before = random_floats(rows * spec.streams * test.width, 33);
    Floats begun = before, ended = before;
    const Buffer memory = Buffer::allocate(ends.workspace_bytes(rows)).value();
    LanePool(2).run([&](Lane& lane) {
      ends.begin(lane, ops, memory.data(), rows_of(begun, rows));
      ends.end(lane, ops, memory.data(), rows_of(ended, rows));
    });
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<Stream> expected = streams_of(before, row, spec.streams, test.width);
      const std::vector<Stream> last = expected;
      for (size_t i = 1; i < expected.size(); ++i) {
        expected[i] = reference.projected("altup_proj", i, expected[0], expected[0]);
      }
      expect_near(begun, row, expected);
      Stream mean = last[0];
      for (size_t i = 1; i < last.size(); ++i) {
        const Stream own = reference.projected("altup_unembd_proj", i, last[i], last[0]);
        for (size_t d = 0; d < mean.size(); ++d) mean[d] += own[d];
      }
      for (size_t d = 0; d < mean.size(); ++d) {
        const double wanted = mean[d] / static_cast<double>(last.size());
        ASSERT_NEAR(ended[at(row * spec.streams * test.width) + d], wanted, 2e-5);
      }
    }
  }
}

}  // namespace
}  // namespace millrace
