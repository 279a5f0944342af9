#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/attention_ops.h"
#include "tests/fixtures/kernels/attention_configs.h"
#include "tests/fixtures/kernels/attention_harness.h"

namespace millrace {
namespace {

// Half of the nodes follow the one before, the others any of them or the last known token.
TestSequence make_tree(const Config& config, int32_t known, int32_t nodes, uint32_t seed) {
  TestSequence tree = make_sequence(config, known + nodes, seed);
  std::mt19937 random(seed);
  for (int32_t slot = known; slot < known + nodes; ++slot) {
    const auto choices = static_cast<uint32_t>(slot - known + 1);
    const auto back = random() % 2 == 0 ? 1 : 1 + static_cast<int32_t>(random() % choices);
    tree.parents.push_back(slot - back);
  }
  return tree;
}

bool has_children(const TestSequence& tree, int32_t slot) {
  return std::ranges::find(tree.parents, slot) != tree.parents.end();
}

// The slots of a path's nodes, from the first one on.
std::vector<int32_t> nodes_to(const TestSequence& tree, int32_t slot) {
  std::vector<int32_t> nodes;
  for (; slot >= tree.known(); slot = tree.parent(slot)) nodes.push_back(slot);
  std::ranges::reverse(nodes);
  return nodes;
}

// A path as a plain sequence.
TestSequence path_of(const Config& config, const TestSequence& tree,
                     const std::vector<int32_t>& nodes) {
  const Shape& shape = config.shape;
  TestSequence path = {.length = tree.known() + static_cast<int32_t>(nodes.size())};
  const auto append = [&](int32_t begin, int32_t end) {
    const Part part = {&tree, begin, end};
    TestBatch::append(tree.queries, part, shape.query_heads * shape.head_dim, path.queries);
    TestBatch::append(tree.keys, part, shape.heads * shape.head_dim, path.keys);
    TestBatch::append(tree.values, part, shape.heads * shape.values(), path.values);
  };
  append(0, tree.known());
  for (const int32_t node : nodes) append(node, node + 1);
  return path;
}

std::vector<float> row_of(const std::vector<float>& out, int64_t row, int64_t rows) {
  const auto width = std::ssize(out) / rows;
  return {out.begin() + row * width, out.begin() + (row + 1) * width};
}

// Rows of a tree, from the last known one on, as their paths alone give them.
std::vector<std::vector<float>> rows_by_paths(Runner& runner, const Config& config,
                                              const TestSequence& tree) {
  std::vector<std::vector<float>> rows(tree.parents.size() + 1);
  const int32_t first = tree.known() - 1;
  for (int32_t leaf = tree.known(); leaf < tree.length; ++leaf) {
    if (has_children(tree, leaf)) continue;
    const std::vector<int32_t> nodes = nodes_to(tree, leaf);
    TestSequence path = path_of(config, tree, nodes);
    TestCache cache(config, path.length / config.block_tokens + 2);
    cache.place(path);
    runner.store(cache, {{&path, 0, path.length}});
    const std::vector<float> out = runner.attend(cache, {{&path, first, path.length}});
    const int64_t count = path.length - first;
    rows[0] = row_of(out, 0, count);
    for (size_t i = 0; i < nodes.size(); ++i) {
      rows[static_cast<size_t>(nodes[i] - first)] = row_of(out, static_cast<int64_t>(i) + 1, count);
    }
  }
  return rows;
}

// Law: whatever else is in the step, the bits of the path alone.
void expect_rows_of_paths(Runner& runner, const Config& config, TestSequence& tree, bool spoilt) {
  Runner alone(1);
  const std::vector<std::vector<float>> expected = rows_by_paths(alone, config, tree);
  if (spoilt) {  // what the last node stores, which no other row follows
    const auto keys = static_cast<size_t>(config.shape.heads * config.shape.head_dim);
    const auto values = static_cast<size_t>(config.shape.heads * config.shape.values());
    std::fill_n(tree.keys.end() - static_cast<int64_t>(keys), keys, NAN);
    std::fill_n(tree.values.end() - static_cast<int64_t>(values), values,
                std::numeric_limits<float>::infinity());
  }
  TestSequence other = make_sequence(config, 45, 77);
  TestCache cache(config, (tree.length + other.length) / config.block_tokens + 3);
  cache.place(other);
  cache.place(tree);
  const std::vector<Part> parts = {{&other, 43, 45}, {&tree, tree.known() - 1, tree.length}};
  runner.store(cache, {{&other, 0, 45}, {&tree, 0, tree.known()}});
  const std::vector<float> plain = alone.attend(cache, {parts[0]});
  runner.store(cache, parts);
  const std::vector<float> out = runner.attend(cache, parts);
  const int64_t rows = 2 + std::ssize(expected);
  ASSERT_TRUE(same_bits({out.begin(), out.begin() + std::ssize(plain)}, plain));
  for (int64_t row = 2; row < rows - (spoilt ? 1 : 0); ++row) {
    ASSERT_TRUE(same_bits(row_of(out, row, rows), expected[static_cast<size_t>(row - 2)]))
        << "row " << row - 2;
  }
}

TEST(AttentionTree, RowsHaveTheBitsOfTheirPathsAlone) {
  constexpr int32_t kKnown[] = {1, 500, 30, 511, 5, 31, 512, 33, 100, 32};
  constexpr int32_t kNodes[] = {2, 40, 9, 5, 70, 3, 24};
  Runner runners[] = {Runner(1), Runner(2), Runner(3)};
  for (const Isa isa : isas()) {
    for (const DType dtype : kCacheTypes) {
      const size_t count = isa == Isa::kScalar ? 4 : 10;
      for (size_t i = 0; i < count; ++i) {
        const Config config = config_of(isa, dtype, i);
        const int32_t known = kKnown[(i + i / 10) % std::size(kKnown)];
        const int32_t nodes = kNodes[(i + i / 7) % std::size(kNodes)];
        SCOPED_TRACE(fmt::format("{}: {} nodes behind {}", config.name(), nodes, known));
        TestSequence tree = make_tree(config, known, nodes, static_cast<uint32_t>(i));
        expect_rows_of_paths(runners[i % 3], config, tree, i % 2 == 1);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// Every shape of few nodes, at the borders of tiles and splits.
TEST(AttentionTree, RowsOfEverySmallTreeHaveTheBitsOfTheirPaths) {
  constexpr int32_t kNodes = 4;
  Runner runner(1);
  for (const Isa isa : {best_isa(), Isa::kPortable16}) {
    for (int32_t shape = 0; shape < 24; ++shape) {
      const auto i = static_cast<size_t>(shape);
      Config config = {.isa = isa,
                       .dtype = kCacheTypes[i % 3],
                       .shape = {16, 4, 2},
                       .block_tokens = kBlocks[i % std::size(kBlocks)],
                       .window = kWindows[i % std::size(kWindows)],
                       .scale = 0.25F};
      for (const int32_t known : {1, 15, 16, 29, 30, 31, 32, 509, 510, 511, 512}) {
        SCOPED_TRACE(fmt::format("{}: tree {} behind {}", config.name(), shape, known));
        TestSequence tree = make_sequence(config, known + kNodes, 3);
        for (int32_t node = 0, code = shape; node < kNodes; code /= ++node) {
          tree.parents.push_back(known - 1 + code % (node + 1));
        }
        expect_rows_of_paths(runner, config, tree, false);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(KeyPaths, BeginWhereSlotsLeaveTheirPositions) {
  const std::vector<int32_t> parents = {-1, 0, 1, 0, 3, 2, 4, -1};
  const std::vector<int32_t> positions = {6, 7, 8, 7, 8, 9, 9, 0};
  const std::vector<int32_t> slots = {6, 7, 8, 9, 10, 11, 12, 0};
  ops::KeyPaths paths;
  ops::list_paths(positions, slots, parents, paths);
  EXPECT_EQ(paths.starts, (std::vector<int32_t>{0, 0, 0, 0, 1, 3, 4, 7, 7}));
  EXPECT_EQ(paths.slots, (std::vector<int32_t>{9, 9, 10, 11, 9, 10, 12}));
  EXPECT_EQ(paths.length(6), 3);
}

TEST(KeyPaths, AChainHasNone) {
  const std::vector<int32_t> places = {3, 4, 5};
  ops::KeyPaths paths;
  ops::list_paths(places, places, std::vector<int32_t>{-1, 0, 1}, paths);
  EXPECT_TRUE(paths.slots.empty());
  ops::list_paths(places, places, {}, paths);
  EXPECT_TRUE(paths.slots.empty());
}

}  // namespace
}  // namespace millrace
