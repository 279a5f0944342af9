#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/fixtures/kernels/rounded.h"
#include "tests/fixtures/kernels/state_runs.h"

namespace millrace {
namespace {

using Rule = ops::MatrixScan::Rule;
using Sharing = ops::MatrixScan::Sharing;

struct ScanCase {
  Rule rule;
  int64_t heads, key_heads, key_dim, value_dim;
  bool each_key = false;
  bool strengths = false;
  bool skip = false;
  bool apart = false;     // heads do not lie side by side
  bool constant = false;  // one row of decays for all
  Sharing sharing = Sharing::kNeighbours;
};

// A case with its numbers.
class ScanOf {
 public:
  explicit ScanOf(const ScanCase& test)
      : test_(test),
        key_step_(test.key_dim + (test.apart ? 3 : 0)),
        value_step_(test.value_dim + (test.apart ? 2 : 0)),
        queries_(random_floats(kStateTestRows * test.key_heads * key_step_, 1)),
        keys_(random_floats(kStateTestRows * test.key_heads * key_step_, 2, 0.3F)),
        values_(random_floats(kStateTestRows * test.heads * value_step_, 3)),
        decays_(random_floats(kStateTestRows * decays_width(), 4)),
        strengths_(random_floats(kStateTestRows * test.heads, 5)),
        a_(random_floats(kStateTestRows * test.heads * test.key_dim, 6, 0.3F)),
        b_(random_floats(kStateTestRows * test.heads * test.key_dim, 7, 0.3F)),
        bonus_(random_floats(test.heads * test.key_dim, 8)),
        skip_(random_floats(test.heads, 9)) {
    for (float& x : decays_) x = std::exp(-std::fabs(x));
  }

  std::string name() const {
    return fmt::format("rule {} heads {} of {} keys {} values {} each key {}",
                       static_cast<int>(test_.rule), test_.heads, test_.key_heads, test_.key_dim,
                       test_.value_dim, test_.each_key);
  }
  int64_t state_floats() const { return scan().state_floats(); }
  int64_t width() const { return test_.heads * test_.value_dim; }

  StateOp op() const {
    return [this](const Ops& ops, Lane& lane, const ops::StateRows& rows,
                  const ops::StateLayer& states,
                  Rows<float> out) { ops.matrix_scan(lane, rows, states, scan(), in(), out); };
  }

  // By its definition, for one sequence: [rows, heads * value_dim].
  std::vector<Rounded> expected(const StateSequence& sequence) const {
    std::vector<Rounded> out;
    std::vector<Rounded> states(at(state_floats()));
    for (int64_t row = sequence.first; row < sequence.first + sequence.rows; ++row) {
      for (int64_t head = 0; head < test_.heads; ++head) {
        for (int64_t j = 0; j < test_.value_dim; ++j) {
          out.push_back(scan_element(states, row, head, j));
        }
      }
    }
    return out;
  }

 private:
  int64_t decays_width() const { return test_.heads * (test_.each_key ? test_.key_dim : 1); }
  ops::MatrixScan scan() const {
    ops::MatrixScan scan = {.rule = test_.rule,
                            .sharing = test_.sharing,
                            .heads = test_.heads,
                            .key_heads = test_.key_heads,
                            .key_dim = test_.key_dim,
                            .value_dim = test_.value_dim,
                            .scale = 0.75F};
    if (test_.apart) {
      scan.key_step = key_step_;
      scan.value_step = value_step_;
    }
    if (test_.rule == Rule::kReadFirst) scan.bonus = bonus_;
    if (test_.skip) scan.skip = skip_;
    return scan;
  }
  static Rows<const float> view(const Floats& of, int64_t width) {
    return {of.data(), kStateTestRows, width, width};
  }
  ops::MatrixScanRows in() const {
    ops::MatrixScanRows rows = {.queries = view(queries_, test_.key_heads * key_step_),
                                .keys = view(keys_, test_.key_heads * key_step_),
                                .values = view(values_, test_.heads * value_step_),
                                .decays = view(decays_, decays_width())};
    if (test_.constant) rows.decays.stride = 0;
    if (test_.strengths) rows.strengths = view(strengths_, test_.heads);
    if (test_.rule == Rule::kPair) {
      rows.a = view(a_, test_.heads * test_.key_dim);
      rows.b = view(b_, test_.heads * test_.key_dim);
    }
    return rows;
  }

  Rounded decay(int64_t row, int64_t head, int64_t key) const {
    const int64_t first = test_.constant ? 0 : row * decays_width();
    return decays_[at(first + (test_.each_key ? head * test_.key_dim + key : head))];
  }
  int64_t key_head(int64_t head) const {
    return test_.sharing == Sharing::kInTurn ? head % test_.key_heads
                                             : head * test_.key_heads / test_.heads;
  }
  Rounded scan_element(std::vector<Rounded>& states, int64_t row, int64_t head, int64_t j) const {
    const int64_t key_at = (row * test_.key_heads + key_head(head)) * key_step_;
    const int64_t all_at = (row * test_.heads + head) * test_.key_dim;
    const Rounded value = values_[at((row * test_.heads + head) * value_step_ + j)];
    const auto state = [&](int64_t key) -> Rounded& {
      return states[at((head * test_.key_dim + key) * test_.value_dim + j)];
    };
    Rounded held;
    for (int64_t key = 0; key < test_.key_dim; ++key) {
      if (test_.rule == Rule::kDelta) {
        held = held + keys_[at(key_at + key)] * (decay(row, head, key) * state(key));
      }
      if (test_.rule == Rule::kPair) held = held + a_[at(all_at + key)] * state(key);
    }
    Rounded added = test_.rule == Rule::kDelta ? value - held : value;
    if (test_.strengths) added = strengths_[at(row * test_.heads + head)] * added;
    Rounded out;
    for (int64_t key = 0; key < test_.key_dim; ++key) {
      const Rounded query = queries_[at(key_at + key)];
      Rounded change = keys_[at(key_at + key)] * added;
      if (test_.rule == Rule::kReadFirst) {
        out = out + query * (state(key) + bonus_[at(head * test_.key_dim + key)] * change);
      }
      if (test_.rule == Rule::kPair) change = change + b_[at(all_at + key)] * held;
      state(key) = decay(row, head, key) * state(key) + change;
      if (test_.rule != Rule::kReadFirst) out = out + query * state(key);
    }
    out = Rounded(0.75F) * out;
    return test_.skip ? out + Rounded(skip_[at(head)]) * value : out;
  }

  ScanCase test_;
  int64_t key_step_, value_step_;
  Floats queries_, keys_, values_, decays_, strengths_, a_, b_, bonus_, skip_;
};

// As the models have them: Mamba-2, gated delta nets (whose heads share keys in both ways), Kimi
// delta attention, lightning attention, sums of keys, RWKV 5 to 7; tiles that are whole and not.
const ScanCase kScanCases[] = {
    {.rule = Rule::kAdd,
     .heads = 4,
     .key_heads = 2,
     .key_dim = 16,
     .value_dim = 64,
     .strengths = true,
     .skip = true},
    {.rule = Rule::kAdd, .heads = 3, .key_heads = 1, .key_dim = 7, .value_dim = 5, .skip = true},
    {.rule = Rule::kDelta,
     .heads = 4,
     .key_heads = 2,
     .key_dim = 32,
     .value_dim = 40,
     .strengths = true},
    {.rule = Rule::kDelta,
     .heads = 6,
     .key_heads = 3,
     .key_dim = 8,
     .value_dim = 33,
     .strengths = true,
     .sharing = Sharing::kInTurn},
    {.rule = Rule::kDelta,
     .heads = 2,
     .key_heads = 2,
     .key_dim = 19,
     .value_dim = 17,
     .each_key = true,
     .strengths = true},
    {.rule = Rule::kAdd,
     .heads = 3,
     .key_heads = 3,
     .key_dim = 12,
     .value_dim = 12,
     .apart = true,
     .constant = true},
    {.rule = Rule::kAdd,
     .heads = 2,
     .key_heads = 2,
     .key_dim = 9,
     .value_dim = 1,
     .each_key = true},
    {.rule = Rule::kReadFirst,
     .heads = 2,
     .key_heads = 2,
     .key_dim = 64,
     .value_dim = 64,
     .each_key = true,
     .constant = true},
    {.rule = Rule::kReadFirst,
     .heads = 3,
     .key_heads = 3,
     .key_dim = 10,
     .value_dim = 31,
     .each_key = true},
    {.rule = Rule::kReadFirst, .heads = 1, .key_heads = 1, .key_dim = 5, .value_dim = 70},
    {.rule = Rule::kPair,
     .heads = 2,
     .key_heads = 2,
     .key_dim = 24,
     .value_dim = 24,
     .each_key = true},
    {.rule = Rule::kPair, .heads = 3, .key_heads = 1, .key_dim = 6, .value_dim = 15},
};

void expect_near(const std::vector<Rounded>& expected, const Floats& out,
                 const StateSequence& sequence, int64_t width) {
  for (int64_t row = 0; row < sequence.rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      const Rounded& want = expected[at(row * width + i)];
      ASSERT_NEAR(out[at((sequence.first + row) * (width + 1) + i)], want.value, want.bound)
          << "row " << row << " column " << i;
    }
  }
}

TEST(MatrixScan, IsWhatItIsDefinedAs) {
  for (const ScanCase& test : kScanCases) {
    const ScanOf scan(test);
    SCOPED_TRACE(scan.name());
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(name_of(isa));
      const StateRun run = run_whole(isa, scan.state_floats(), scan.width(), scan.op());
      for (const StateSequence& sequence : kStateSequences) {
        expect_near(scan.expected(sequence), run.out, sequence, scan.width());
      }
    }
  }
}

TEST(MatrixScan, IsTheSameHoweverRowsAreCut) {
  for (const ScanCase& test : kScanCases) {
    const ScanOf scan(test);
    SCOPED_TRACE(scan.name());
    for (const Isa isa : supported_isas()) {
      expect_same_however_cut(isa, scan.state_floats(), scan.width(), scan.op());
    }
    expect_twins_agree(scan.state_floats(), scan.width(), scan.op());
  }
}

// A selective scan with its numbers.
class SelectiveOf {
 public:
  SelectiveOf(int64_t state_dim, int64_t channels, bool vectors)
      : state_dim_(state_dim),
        channels_(channels),
        in_(random_floats(kStateTestRows * channels, 11)),
        steps_(random_floats(kStateTestRows * channels, 12)),
        b_(random_floats(kStateTestRows * state_dim, 13)),
        c_(random_floats(kStateTestRows * state_dim, 14)),
        rates_(random_floats(state_dim * channels, 15)),
        bias_(random_floats(vectors ? channels : 0, 16)),
        skip_(random_floats(vectors ? channels : 0, 17)) {
    for (float& x : rates_) x = -std::fabs(x);
  }

  int64_t state_floats() const { return state_dim_ * channels_; }
  int64_t width() const { return channels_; }
  StateOp op() const {
    return [this](const Ops& ops, Lane& lane, const ops::StateRows& rows,
                  const ops::StateLayer& states, Rows<float> out) {
      const auto view = [](const Floats& of, int64_t width) {
        return Rows<const float>{of.data(), kStateTestRows, width, width};
      };
      ops.selective_scan(lane, rows, states,
                         {.state_dim = state_dim_, .rates = rates_, .bias = bias_, .skip = skip_},
                         {view(in_, channels_), view(steps_, channels_), view(b_, state_dim_),
                          view(c_, state_dim_)},
                         out);
    };
  }
  std::vector<Rounded> expected(const StateSequence& sequence) const {
    std::vector<Rounded> out;
    std::vector<Rounded> states(at(state_floats()));
    for (int64_t row = sequence.first; row < sequence.first + sequence.rows; ++row) {
      for (int64_t i = 0; i < channels_; ++i) {
        const Rounded in = in_[at(row * channels_ + i)];
        const Rounded raw = steps_[at(row * channels_ + i)];
        const Rounded step = softplus(bias_.empty() ? raw : raw + bias_[at(i)]);
        Rounded sum = skip_.empty() ? Rounded(0.0F) : Rounded(skip_[at(i)]) * in;
        for (int64_t n = 0; n < state_dim_; ++n) {
          Rounded& state = states[at(n * channels_ + i)];
          const Rounded decay = exp(step * rates_[at(n * channels_ + i)]);
          state = decay * state + Rounded(b_[at(row * state_dim_ + n)]) * (step * in);
          sum = sum + Rounded(c_[at(row * state_dim_ + n)]) * state;
        }
        out.push_back(sum);
      }
    }
    return out;
  }

 private:
  int64_t state_dim_, channels_;
  Floats in_, steps_, b_, c_, rates_, bias_, skip_;
};

TEST(SelectiveScan, IsWhatItIsDefinedAsHoweverRowsAreCut) {
  for (const auto& [state_dim, channels, vectors] :
       {std::tuple(16, 64, true), std::tuple(3, 37, false), std::tuple(5, 8, true)}) {
    const SelectiveOf scan(state_dim, channels, vectors);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(name_of(isa));
      const StateRun run = run_whole(isa, scan.state_floats(), scan.width(), scan.op());
      for (const StateSequence& sequence : kStateSequences) {
        expect_near(scan.expected(sequence), run.out, sequence, scan.width());
      }
      expect_same_however_cut(isa, scan.state_floats(), scan.width(), scan.op());
    }
    expect_twins_agree(scan.state_floats(), scan.width(), scan.op());
  }
}

}  // namespace
}  // namespace millrace
