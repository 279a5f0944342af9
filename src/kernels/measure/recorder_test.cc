#include "kernels/measure/recorder.h"

#include <atomic>
#include <thread>

#include <absl/time/clock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/kernels/attention_harness.h"
#include "tests/fixtures/kernels/op_cases.h"

namespace millrace {
namespace {

// A clock that every look at moves on by a microsecond.
class TickingClock final : public Clock {
 public:
  Instant now() const override { return now_ += absl::Microseconds(1); }

 private:
  mutable Instant now_;
};

TEST(RecorderTest, AddsUpWhatIsTheSame) {
  const TickingClock clock;
  const CpuOps cpu(kernels_for(Isa::kScalar));
  Recorder recorder(cpu, 1, clock);
  const PackedCase weights = random_weights(DType::kQ4_0, 40, 64, 1);
  const Floats in = random_floats(3 * 64, 2);
  const Placed placed = converted(Isa::kScalar, {.q8 = true}, in, 3);
  Floats out(3 * 40);
  Floats norms(2 * 64);
  const Placed normed = place({.f32 = true}, 2, 64);
  const Floats weight = random_floats(64, 3);
  LanePool(1).run([&](Lane& lane) {
    for (int i = 0; i < 4; ++i) {
      recorder.linear(lane, weights.packed, placed.view, {}, ops::Store::kSet, rows_of(out, 3));
      recorder.barrier(lane);
      recorder.norm(lane, rows_of(norms, 2), {.weight = weight, .epsilon = 1e-5F}, normed.view);
    }
  });
  EXPECT_EQ(out, linear(Isa::kScalar, weights, {.q8 = true}, in, 3));
  const Recording seen = recorder.recording();
  ASSERT_EQ(seen.ops.size(), 2U);
  EXPECT_EQ(seen.ops[0].subject.op, "linear");
  EXPECT_EQ(seen.ops[0].subject.rows, 3);
  EXPECT_EQ(seen.ops[0].subject.width, 64);
  EXPECT_EQ(seen.ops[0].subject.outputs, 40);
  EXPECT_EQ(seen.ops[0].calls, 4);
  EXPECT_EQ(seen.ops[0].time, absl::Microseconds(4));
  EXPECT_EQ(seen.ops[0].bytes,
            4.0 * static_cast<double>(PackedMatrix::bytes(DType::kQ4_0, 40, 64)));
  EXPECT_EQ(seen.ops[0].operations, 4 * 2 * 40 * 64 * 3);
  EXPECT_EQ(seen.ops[1].subject.op, "norm");
  EXPECT_EQ(seen.ops[1].calls, 4);
  EXPECT_EQ(seen.barriers, 4);
  EXPECT_EQ(seen.waits, absl::ZeroDuration());
  EXPECT_EQ(seen.barrier, absl::Microseconds(4));
  recorder.clear();
  EXPECT_TRUE(recorder.recording().ops.empty());
  EXPECT_EQ(recorder.recording().barriers, 0);
}

TEST(RecorderTest, CountsTheMatricesThatAHiddenLayerHas) {
  const TickingClock clock;
  const CpuOps cpu(kernels_for(Isa::kScalar));
  const Recorder recorder(cpu, 1, clock);
  const PackedCase gate = random_weights(DType::kQ4_0, 96, 64, 1);
  const PackedCase up = random_weights(DType::kQ4_0, 96, 64, 2);
  const Placed in = converted(Isa::kScalar, {.q8 = true}, random_floats(3 * 64, 3), 3);
  const Placed out = place({.f32 = true}, 3, 96);
  LanePool(1).run([&](Lane& lane) {
    recorder.hidden(lane, {.gate = &gate.packed, .up = &up.packed}, in.view, out.view);
    recorder.hidden(lane, {.up = &up.packed}, in.view, out.view);
  });
  const Recording seen = recorder.recording();
  ASSERT_EQ(seen.ops.size(), 2U);
  const auto bytes = static_cast<double>(PackedMatrix::bytes(DType::kQ4_0, 96, 64));
  EXPECT_EQ(seen.ops[0].subject.op, "hidden");
  EXPECT_EQ(seen.ops[0].subject.outputs, 2 * 96);
  EXPECT_EQ(seen.ops[0].bytes, 2 * bytes);
  EXPECT_EQ(seen.ops[0].operations, 2 * 2 * 96 * 64 * 3);
  EXPECT_EQ(seen.ops[1].subject.outputs, 96);
  EXPECT_EQ(seen.ops[1].bytes, bytes);
  EXPECT_EQ(seen.ops[1].operations, 2 * 96 * 64 * 3);
}

TEST(RecorderTest, CountsEachHeadsMatrix) {
  const TickingClock clock;
  const CpuOps cpu(kernels_for(Isa::kScalar));
  const Recorder recorder(cpu, 1, clock);
  const PackedCase weights = random_weights(DType::kQ4_0, 4 * 32, 64, 1);
  const ops::ExpertMatrix heads = {.matrix = weights.packed, .experts = 4, .rows = 32};
  const Placed in = converted(Isa::kScalar, {.q8 = true}, random_floats(3 * 64, 3), 3);
  Floats out(3 * 4 * 32);
  LanePool(1).run(
      [&](Lane& lane) { recorder.head_linear(lane, heads, in.view, 0, 32, rows_of(out, 3)); });
  EXPECT_EQ(out, linear(Isa::kScalar, weights, {.q8 = true}, random_floats(3 * 64, 3), 3));
  const Recording seen = recorder.recording();
  ASSERT_EQ(seen.ops.size(), 1U);
  EXPECT_EQ(seen.ops[0].subject.op, "head_linear");
  EXPECT_EQ(seen.ops[0].subject.rows, 3 * 4);
  EXPECT_EQ(seen.ops[0].bytes, static_cast<double>(PackedMatrix::bytes(DType::kQ4_0, 4 * 32, 64)));
  EXPECT_EQ(seen.ops[0].operations, 2 * 4 * 32 * 64 * 3);
}

TEST(RecorderTest, CountsTheExpertsThatHaveRows) {
  const TickingClock clock;
  const CpuOps cpu(kernels_for(Isa::kScalar));
  const Recorder recorder(cpu, 1, clock);
  const PackedCase weights = random_weights(DType::kQ4_0, 4 * 32, 64, 1);
  const ops::ExpertMatrix experts = {.matrix = weights.packed, .experts = 4, .rows = 32};
  const Placed in = converted(Isa::kScalar, {.q8 = true}, random_floats(3 * 64, 3), 3);
  const Placed hidden = place({.f32 = true}, 3, 32);
  const Buffer memory = Buffer::allocate(ops::Dispatch::bytes(3, 1, 4)).value();
  const ops::Dispatch dispatch = ops::Dispatch::lay_out(3, 1, 4, memory.data());
  Floats logits = {0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0};  // the second, the last, the second
  Floats choice(logits.size());
  Floats out(3 * 32);
  Floats sums(3 * 32);
  LanePool(1).run([&](Lane& lane) {
    recorder.route(lane, {}, rows_of(logits, 3), rows_of(choice, 3), dispatch);
    recorder.dispatch(lane, dispatch);
    recorder.expert_hidden(lane, {.gate = &experts, .up = &experts}, in.view, dispatch,
                           hidden.view);
    recorder.expert_linear(lane, experts, in.view, {}, dispatch, rows_of(out, 3));
    recorder.combine(lane, dispatch, {}, rows_of(out, 3), ops::Store::kSet, rows_of(sums, 3));
  });
  const Recording seen = recorder.recording();
  ASSERT_EQ(seen.ops.size(), 5U);
  const auto bytes = 2.0 * static_cast<double>(PackedMatrix::bytes(DType::kQ4_0, 32, 64));
  EXPECT_EQ(seen.ops[2].subject.op, "expert_hidden");
  EXPECT_EQ(seen.ops[2].subject.rows, 3);
  EXPECT_EQ(seen.ops[2].bytes, 2 * bytes);
  EXPECT_EQ(seen.ops[2].operations, 2 * 2 * 32 * 64 * 3);
  EXPECT_EQ(seen.ops[3].subject.op, "expert_linear");
  EXPECT_EQ(seen.ops[3].bytes, bytes);
  EXPECT_EQ(seen.ops[3].operations, 2 * 32 * 64 * 3);
}

// The last lane to come waits for nobody; what the others wait is apart from what crossing takes.
TEST(RecorderTest, TellsWaitsFromBarriers) {
  const RealClock clock;
  const CpuOps cpu(kernels_for(Isa::kScalar));
  const Recorder recorder(cpu, 2, clock);
  std::atomic<bool> about_to_wait = false;
  LanePool(2).run([&](Lane& lane) {
    recorder.barrier(lane);
    if (lane.index() == 0) about_to_wait = true;
    while (!about_to_wait) std::this_thread::yield();
    if (lane.index() == 1) absl::SleepFor(absl::Milliseconds(50));
    recorder.barrier(lane);
  });
  const Recording seen = recorder.recording();
  EXPECT_EQ(seen.barriers, 2);
  EXPECT_GE(seen.waits, absl::Milliseconds(5));
  EXPECT_GE(seen.barrier, absl::ZeroDuration());
}

struct SeenCase {
  int32_t window;
  std::vector<int32_t> parents;  // of the last slots
  int32_t begin, end;            // rows
  int64_t once, by_rows;
};

TEST(RecorderTest, CountsTheKeysThatRowsSee) {
  const TickingClock clock;
  const CpuOps cpu(kernels_for(Isa::kScalar));
  const std::vector<int32_t> tree = {8, 8, 9};  // at positions 9, 9 and 10
  for (const auto& [window, parents, begin, end, once, by_rows] :
       {SeenCase{0, {}, 10, 12, 12, 11 + 12}, SeenCase{4, {}, 10, 12, 5, 4 + 4},
        SeenCase{0, tree, 8, 12, 12, 9 + 10 + 10 + 11},
        SeenCase{4, tree, 8, 12, 4 + 3, 4 + 4 + 4 + 4}}) {
    const Config config = {.isa = Isa::kScalar,
                           .dtype = DType::kF16,
                           .shape = {.head_dim = 8, .query_heads = 4, .heads = 2},
                           .block_tokens = 4,
                           .window = window,
                           .scale = 1};
    TestCache cache(config, 8);
    TestSequence sequence = make_sequence(config, 12, 3);
    sequence.parents = parents;
    cache.place(sequence);
    TestBatch batch(config, {{&sequence, begin, end}});
    const Recorder recorder(cpu, 1, clock);
    const ops::AttentionShape shape = {.query_heads = 4, .scale = 1};
    Buffer memory = Buffer::allocate(ops::attention_memory_bytes(shape, cache.layer(), 1)).value();
    LanePool(1).run([&](Lane& lane) {
      recorder.attention(lane, batch.places(), shape, batch.view(batch.queries, batch.query_width),
                         cache.layer(), {memory.data(), static_cast<size_t>(memory.size())},
                         batch.view(batch.out, batch.query_width));
    });
    const Recording seen = recorder.recording();
    ASSERT_EQ(seen.ops.size(), 1U);
    EXPECT_EQ(seen.ops[0].bytes, once * 2 * 2 * 16);
    EXPECT_EQ(seen.ops[0].operations, by_rows * 4 * 32);
  }
}

}  // namespace
}  // namespace millrace
