#include "models/packing/stream_plan.h"

#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr int64_t kKi = 1024;
constexpr int64_t kMi = kKi * kKi;

// Embedding, head (or both in one), layers of `layer` bytes.
MatrixMap map_of(int64_t embedding, int64_t head, int64_t layers, int64_t layer) {
  MatrixMap map;
  map.embedding = {0, embedding};
  map.head = head == 0 ? map.embedding : MemoryRange{embedding, embedding + head};
  map.head_panel_bytes = 1000 * kKi / 50;
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t begin = map.head.end + i * layer;
    map.layers.push_back({begin, begin + layer});
  }
  map.bytes = map.layers.back().end;
  return map;
}

int64_t memory_of(const StreamPlan& plan) {
  return (std::ssize(plan.resident) + plan.transient) * plan.segment_bytes;
}

// Every byte of every part either stays, or is read before the part, once, and kept until after it;
// and no part needs more than the segments that come and go.
void expect_complete(const StreamPlan& plan, const StreamPlan::Reads& reads,
                     const std::vector<MemoryRange>& parts) {
  ASSERT_EQ(reads.needed.size(), parts.size());
  std::set<int64_t> seen;
  for (const StreamPlan::Read& read : reads.reads) {
    EXPECT_FALSE(plan.stays(read.segment)) << read.segment;
    EXPECT_TRUE(seen.insert(read.segment).second) << read.segment;
  }
  for (size_t part = 0; part < parts.size(); ++part) {
    int64_t held = 0;
    for (int64_t segment = parts[part].begin / plan.segment_bytes;
         segment * plan.segment_bytes < parts[part].end; ++segment) {
      if (plan.stays(segment)) continue;
      const auto read = std::ranges::find(reads.reads, segment, &StreamPlan::Read::segment);
      ASSERT_NE(read, reads.reads.end()) << "segment " << segment << " of part " << part;
      EXPECT_LT(read - reads.reads.begin(), reads.needed[part]) << segment;
      EXPECT_GE(read->last_part, static_cast<int64_t>(part)) << segment;
      ++held;
    }
    EXPECT_LT(held, plan.transient + (held == 0 ? 1 : 0));
  }
}

std::vector<MemoryRange> head_parts_of(const MatrixMap& map, const StreamPlan& plan) {
  std::vector<MemoryRange> parts;
  const int64_t step = plan.head_part_panels * map.head_panel_bytes;
  for (int64_t at = map.head.begin; at < map.head.end; at += step) {
    parts.push_back({at, std::min(at + step, map.head.end)});
  }
  return parts;
}

TEST(StreamPlan, EveryPartIsThereWithinEveryLimit) {
  const std::vector<MatrixMap> maps = {map_of(190 * kMi + 77 * 64, 0, 28, 33 * kMi - 64),
                                       map_of(9 * kMi, 11 * kMi, 5, 3 * kMi + 64 * 5),
                                       map_of(64, 64, 3, 5 * kMi), map_of(40 * kMi, 0, 1, 64)};
  for (const MatrixMap& map : maps) {
    int64_t plans = 0;
    for (int64_t limit = kMi; limit < map.bytes; limit += map.bytes / 17) {
      const auto plan = plan_stream(map, 1000, limit);
      if (!plan.ok()) continue;
      ++plans;
      EXPECT_LE(memory_of(*plan) + 1000, limit);
      expect_complete(*plan, plan->layers, map.layers);
      expect_complete(*plan, plan->head, head_parts_of(map, *plan));
    }
    EXPECT_GT(plans, 5);
  }
}

TEST(StreamPlan, TheLeastThatWouldDoDoes) {
  for (const int64_t head : {int64_t{0}, 20 * kMi}) {
    const MatrixMap map = map_of(30 * kMi, head, 8, 10 * kMi);
    const absl::Status refused = plan_stream(map, 4321, 1000).status();
    ASSERT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    int64_t least = 0;
    ASSERT_EQ(
        std::sscanf(std::string(message_of(refused)).c_str(),
                    "1000 bytes of memory for weights are too few: this model needs %ld", &least),
        1)
        << refused;
    EXPECT_LT(least, 12 * kMi);  // a layer and what is read ahead
    EXPECT_TRUE(plan_stream(map, 4321, least).ok());
    EXPECT_FALSE(plan_stream(map, 4321, least - 1).ok());
  }
}

// The head is needed by every head() of a pass, and for embeddings where it is the embedding.
TEST(StreamPlan, TheHeadStaysWhereItFits) {
  const MatrixMap map = map_of(190 * kMi, 0, 28, 33 * kMi);
  const StreamPlan plan = plan_stream(map, 0, 400 * kMi).value();
  EXPECT_TRUE(plan.embedding_stays);
  EXPECT_TRUE(plan.head.reads.empty());
  EXPECT_EQ(plan.head.needed.size(), 1U);
  EXPECT_EQ(plan.segment_bytes, 4 * kMi);
  EXPECT_GT(memory_of(plan), 390 * kMi);
  EXPECT_FALSE(plan_stream(map, 0, 100 * kMi).value().embedding_stays);
}

TEST(StreamPlan, WhatStaysIsSpreadOverTheLayers) {
  const MatrixMap map = map_of(kMi, 0, 20, 32 * kMi);
  const StreamPlan plan = plan_stream(map, 0, 400 * kMi).value();
  int64_t before = 0;
  int64_t least = map.bytes, most = 0;
  for (const int64_t needed : plan.layers.needed) {
    least = std::min(least, needed - before);
    most = std::max(most, needed - before);
    before = needed;
  }
  EXPECT_LE(most - least, 1);
}

TEST(StreamPlan, AnEmbeddingThatIsNoHeadNeedNoMemory) {
  const MatrixMap map = map_of(400 * kMi, 50 * kMi, 10, 10 * kMi);
  const StreamPlan plan = plan_stream(map, 0, 170 * kMi).value();
  EXPECT_FALSE(plan.embedding_stays);
  EXPECT_TRUE(plan.layers.reads.empty());
  EXPECT_TRUE(plan.head.reads.empty());
}

}  // namespace
}  // namespace millrace
