#include "core/batch.h"

#include <gtest/gtest.h>

#include "core/plan.h"

namespace millrace {
namespace {

Sequence sequence_of(int64_t id, std::vector<TokenId> prompt, int32_t prompt_logprobs) {
  Request request;
  request.prompt = std::move(prompt);
  request.prompt_logprobs = prompt_logprobs;
  Sequence sequence;
  sequence.id = {id};
  sequence.tokens = request.prompt;
  sequence.request = std::make_shared<const Request>(std::move(request));
  return sequence;
}

TEST(Flatten, WritesSlicesOneAfterTheOther) {
  Sequence running = sequence_of(1, {5, 6, 7}, kNoLogprobs);
  running.computed = 2;
  Sequence beginning = sequence_of(2, {1, 2, 3, 4}, kNoLogprobs);
  Plan plan;
  plan.slices = {{&running, 1}, {&beginning, 3}};
  Batch batch;
  flatten(plan, batch);
  ASSERT_EQ(batch.slices.size(), 2U);
  EXPECT_EQ(batch.slices[1].row, 1);
  EXPECT_EQ(batch.slices[1].rows, 3);
  EXPECT_EQ(batch.tokens, (std::vector<TokenId>{7, 1, 2, 3}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{2, 0, 1, 2}));
  EXPECT_EQ(batch.slots, batch.positions);
  EXPECT_EQ(batch.wants, std::vector<int32_t>{0});  // the other has not reached its end
}

TEST(Flatten, WantsThePromptRowsThatAreScored) {
  Sequence sequence = sequence_of(1, {5, 6, 7, 8}, 0);
  Plan plan;
  plan.slices = {{&sequence, 4}};
  Batch batch;
  flatten(plan, batch);
  EXPECT_EQ(batch.wants, (std::vector<int32_t>{0, 1, 2, 3}));

  sequence.prompt_scored = 2;  // computed again after it was preempted
  flatten(plan, batch);
  EXPECT_EQ(batch.wants, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(sequence.skippable(), 2);
  sequence.prompt_scored = 3;
  EXPECT_EQ(sequence.skippable(), 3);
}

TEST(Flatten, AddsADraftsRowsBehindTheLastKnownToken) {
  Sequence running = sequence_of(1, {5, 6, 7}, kNoLogprobs);
  running.computed = 2;
  Sequence other = sequence_of(2, {8}, kNoLogprobs);
  Plan plan;
  plan.nodes = {{20}, {30, 0}, {21}, {31, 2}};
  plan.slices = {{&running, 1, {0, 4}}, {&other, 1}};
  Batch batch;
  flatten(plan, batch);
  EXPECT_EQ(batch.slices[0].rows, 5);
  EXPECT_EQ(batch.slices[0].draft_rows, 4);
  EXPECT_EQ(batch.tokens, (std::vector<TokenId>{7, 20, 30, 21, 31, 8}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{2, 3, 4, 3, 4, 0}));
  EXPECT_EQ(batch.slots, (std::vector<int32_t>{2, 3, 4, 5, 6, 0}));
  EXPECT_EQ(batch.parents, (std::vector<int32_t>{-1, 0, 1, 0, 3, -1}));
  EXPECT_EQ(batch.wants, (std::vector<int32_t>{0, 1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace millrace
