#include "text/models/merges.h"

#include <map>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

struct Join {
  uint32_t order;
  int32_t symbol;
};
using Table = std::map<std::pair<int32_t, int32_t>, Join>;

// The definition: again and again the lowest order, at equal orders the leftmost.
std::vector<int32_t> joined_one_by_one(std::vector<int32_t> symbols, const Table& table) {
  while (true) {
    size_t best = symbols.size();
    Join join{};
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = table.find({symbols[i], symbols[i + 1]});
      if (found == table.end()) continue;
      if (best == symbols.size() || found->second.order < join.order) {
        best = i;
        join = found->second;
      }
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = join.symbol;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(Merges, DoWhatJoiningOneByOneDoes) {
  std::mt19937 random(3);
  Merges::Word word;
  for (int round = 0; round < 2000; ++round) {
    // Few orders, so that many are equal; -2 stands for a character that is no token.
    Merges merges;
    Table table;
    for (auto n = random() % 12; n > 0; --n) {
      const int32_t left = static_cast<int32_t>(random() % 7) - 2;
      const int32_t right = static_cast<int32_t>(random() % 7) - 2;
      if (left == Merges::kNoSymbol || right == Merges::kNoSymbol) continue;
      const Join join{static_cast<uint32_t>(random() % 6), static_cast<int32_t>(random() % 5)};
      merges.add(left, right, join.order, join.symbol);
      table.emplace(std::pair(left, right), join);
    }
    std::vector<int32_t> symbols;
    word.clear();
    for (auto n = random() % 20; n > 0; --n) {
      symbols.push_back(static_cast<int32_t>(random() % 7) - 2);
      word.add(symbols.back());
    }
    merges.apply(word);
    std::vector<int32_t> result;
    word.for_each([&result](int32_t symbol) { result.push_back(symbol); });
    ASSERT_EQ(result, joined_one_by_one(symbols, table)) << "round " << round;
  }
}

}  // namespace
}  // namespace millrace
