#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/rounded.h"
#include "tests/fixtures/kernels/state_runs.h"

namespace millrace {
namespace {

// The root of a quotient, which halves what the square is uncertain by.
Rounded root_of(const Rounded& x) {
  const double value = std::sqrt(x.value);
  return Rounded::of(value, std::sqrt(x.value + x.bound) - value);
}

// However it is summed, a sum of n terms has at most n roundings of the sum of their sizes.
struct RoundedSum {
  double value = 0;
  double carried = 0;
  double sizes = 0;
  int64_t terms = 0;

  void add(const Rounded& x) {
    value += x.value;
    carried += x.bound;
    sizes += std::fabs(x.value);
    ++terms;
  }
  Rounded mean() const {
    const auto n = static_cast<double>(terms);
    const double bound = carried + (n + 1) * kRounding * (sizes + carried);
    return Rounded::of(value / n, bound / n);
  }
};

template <typename Run>
void for_each_isa(Run run) {
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(name_of(isa));
    run(isa);
  }
}

Floats largest_kept(Isa isa, int lanes, float deviations, Floats rows, int64_t count) {
  LanePool(lanes).run([&](Lane& lane) {
    CpuOps(kernels_for(isa)).keep_largest(lane, deviations, rows_of(rows, count));
  });
  return rows;
}

struct GateCase {
  int64_t rows;
  int64_t width;
  float deviations;
};

TEST(KeepLargest, TakesTheCutoffOfEachRowFromItsGates) {
  for (const GateCase& test :
       {GateCase{3, 96, 1.644854F}, {2, 37, 0}, {5, 1, -1}, {2, 1000, 0.5F}, {1, 64, -0.7F}}) {
    const int64_t rows = test.rows;
    const int64_t width = test.width;
    const float deviations = test.deviations;
    Floats in = random_floats(rows * width, 61, 3);
    for (float& x : in) x += 2;
    for_each_isa([&](Isa isa) {
      const Floats out = largest_kept(isa, 2, deviations, in, rows);
      for (int64_t row = 0; row < rows; ++row) {
        const auto own = std::span(in).subspan(at(row * width), at(width));
        RoundedSum sum, squares;
        for (const float x : own) sum.add(x);
        const Rounded mean = sum.mean();
        for (const float x : own) squares.add((Rounded(x) - mean) * (Rounded(x) - mean));
        const Rounded cutoff = mean + root_of(squares.mean()) * Rounded(deviations);
        for (int64_t i = 0; i < width; ++i) {
          const Rounded above = Rounded(own[at(i)]) - cutoff;
          ASSERT_NEAR(out[at(row * width + i)], std::max(0.0, above.value), above.bound);
        }
      }
    });
    for_each_twin([&](Isa tier, Isa twin) {
      EXPECT_EQ(bits_of(largest_kept(tier, 1, deviations, in, rows)),
                bits_of(largest_kept(twin, 3, deviations, in, rows)));
    });
  }
}

TEST(KeepLargest, ARowWithANanSpoilsNoOther) {
  Floats in = random_floats(2 * 40, 62);
  in[3] = NAN;
  for_each_isa([&](Isa isa) {
    const Floats out = largest_kept(isa, 1, 1, in, 2);
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_TRUE(std::all_of(out.begin() + 40, out.end(), [](float x) { return x >= 0; }));
  });
}

Floats matched(Isa isa, int lanes, Floats like, float least, Floats parts, int64_t rows) {
  LanePool(lanes).run([&](Lane& lane) {
    CpuOps(kernels_for(isa))
        .match_magnitude(lane, rows_of(like, rows), least, rows_of(parts, rows));
  });
  return parts;
}

struct MagnitudeCase {
  int64_t rows;
  int64_t width;
  int64_t parts;
  float size;
};

TEST(MatchMagnitude, GivesEachPartTheMagnitudeOfItsRow) {
  constexpr float kLeast = 1e-5F;
  for (const MagnitudeCase& test :
       {MagnitudeCase{3, 40, 3, 1}, {2, 17, 1, 1e-4F}, {1, 300, 2, 20}, {2, 33, 2, 0}}) {
    const int64_t rows = test.rows;
    const int64_t width = test.width;
    const int64_t parts = test.parts;
    const float size = test.size;
    const Floats like = random_floats(rows * width, 63, 2);
    const Floats in = random_floats(rows * parts * width, 64, size);
    for_each_isa([&](Isa isa) {
      const Floats out = matched(isa, 2, like, kLeast, in, rows);
      for (int64_t part = 0; part < rows * parts; ++part) {
        RoundedSum wanted, own;
        for (int64_t k = 0; k < width; ++k) {
          const Rounded a = like[at(part / parts * width + k)];
          const Rounded b = in[at(part * width + k)];
          wanted.add(a * a);
          own.add(b * b);
        }
        Rounded least = own.mean();
        least.value = std::max(least.value, double{kLeast});
        const Rounded factor = root_of(wanted.mean()) / root_of(least);
        for (int64_t k = part * width; k < (part + 1) * width; ++k) {
          const Rounded expected = Rounded(in[at(k)]) * factor;
          ASSERT_NEAR(out[at(k)], expected.value, expected.bound);
        }
      }
    });
    for_each_twin([&](Isa tier, Isa twin) {
      EXPECT_EQ(bits_of(matched(tier, 1, like, kLeast, in, rows)),
                bits_of(matched(twin, 3, like, kLeast, in, rows)));
    });
  }
}

// Streams with what their update takes.
struct Streams {
  Streams(int64_t rows_of_all, int64_t streams_of_row, int64_t width_of_each, int64_t active_of_row)
      : rows(rows_of_all),
        count(streams_of_row),
        width(width_of_each),
        active(active_of_row),
        predict(random_floats(count * count * count, 71, 0.5F)),
        correct(random_floats(count * count, 72, 0.5F)),
        modes(random_floats(rows * count, 73)),
        all(random_floats(rows * count * width, 74)),
        predicted(random_floats(rows * width, 75)) {}

  float of(int64_t row, int64_t stream, int64_t k) const {
    return all[at((row * count + stream) * width + k)];
  }
  Rounded coefficient(const Floats& weights, int64_t row, int64_t index) const {
    Rounded sum;
    for (int64_t k = 0; k < count; ++k) {
      sum = sum + Rounded(weights[at(index * count + k)]) * Rounded(modes[at(row * count + k)]);
    }
    return sum;
  }

  int64_t rows, count, width, active;
  Floats predict, correct, modes, all, predicted;
};

std::vector<Streams> stream_cases() {
  return {{3, 4, 40, 0}, {2, 2, 17, 1}, {1, 3, 600, 2}, {2, 16, 5, 7}};
}

struct Updated {
  Floats streams, active;
};

Updated predicted(Isa isa, int lanes, Streams in) {
  LanePool(lanes).run([&](Lane& lane) {
    CpuOps(kernels_for(isa))
        .predict_streams(lane, {.weights = in.predict, .active = in.active},
                         rows_of(in.modes, in.rows), rows_of(in.all, in.rows),
                         rows_of(in.predicted, in.rows));
  });
  return {in.all, in.predicted};
}

TEST(PredictStreams, AddsAMapOfAllToEach) {
  for (const Streams& in : stream_cases()) {
    const int64_t count = in.count;
    const int64_t width = in.width;
    for_each_isa([&](Isa isa) {
      const Updated out = predicted(isa, 2, in);
      for (int64_t i = 0; i < in.rows * count * width; ++i) {
        const int64_t row = i / (count * width);
        const int64_t stream = i / width % count;
        const int64_t k = i % width;
        Rounded expected = in.all[at(i)];
        for (int64_t j = 0; j < count; ++j) {
          expected =
              expected + in.coefficient(in.predict, row, stream * count + j) * in.of(row, j, k);
        }
        ASSERT_NEAR(out.streams[at(i)], expected.value, expected.bound);
        if (stream == in.active) {
          ASSERT_EQ(out.active[at(row * width + k)], out.streams[at(i)]);
        }
      }
    });
    for_each_twin([&](Isa tier, Isa twin) {
      EXPECT_EQ(bits_of(predicted(tier, 1, in).streams), bits_of(predicted(twin, 3, in).streams));
    });
  }
}

Floats corrected(Isa isa, int lanes, Streams in) {
  LanePool(lanes).run([&](Lane& lane) {
    CpuOps(kernels_for(isa))
        .correct_streams(lane, {.weights = in.correct, .active = in.active},
                         rows_of(in.modes, in.rows), rows_of(in.predicted, in.rows),
                         rows_of(in.all, in.rows));
  });
  return in.all;
}

TEST(CorrectStreams, AddsAShareOfWhatTheActiveOneChangedBy) {
  for (const Streams& in : stream_cases()) {
    const int64_t count = in.count;
    const int64_t width = in.width;
    for_each_isa([&](Isa isa) {
      const Floats out = corrected(isa, 2, in);
      for (int64_t i = 0; i < in.rows * count * width; ++i) {
        const int64_t row = i / (count * width);
        const int64_t stream = i / width % count;
        const int64_t k = i % width;
        const Rounded change =
            Rounded(in.of(row, in.active, k)) - Rounded(in.predicted[at(row * width + k)]);
        const Rounded own = in.coefficient(in.correct, row, stream);
        const Rounded share = stream == in.active ? own : own + Rounded(1.0F);
        const Rounded expected = Rounded(in.all[at(i)]) + share * change;
        ASSERT_NEAR(out[at(i)], expected.value, expected.bound);
      }
    });
    for_each_twin([&](Isa tier, Isa twin) {
      EXPECT_EQ(bits_of(corrected(tier, 1, in)), bits_of(corrected(twin, 3, in)));
    });
  }
}

}  // namespace
}  // namespace millrace
