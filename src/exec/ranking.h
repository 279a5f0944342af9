#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

// Ranks the entries of a list by score, best first, ties by lower index, without sorting them: a
// histogram of the distance from the best score finds where the ranking is to be cut, and only
// entries near the cut are compared.
class Ranking {
 public:
  // entries_max: the longest list.
  explicit Ranking(int64_t entries_max);

  int64_t bytes() const;  // of its working memory

  // An entry's place in the ranking: larger is better.
  static uint64_t key_of(float score, size_t index);
  static size_t index_of(uint64_t key) { return ~static_cast<uint32_t>(key); }
  static float score_of(uint64_t key);

  // The key of the last of the best entries: the fewest whose weights together reach `mass`, at
  // least one. One score at least is above minus infinity.
  uint64_t cut_at_mass(std::span<const float> scores, std::span<const float> weights, double mass);
  // The key of the last of the `count` best entries, or of the last entry where there are fewer.
  uint64_t cut_at_count(std::span<const float> scores, int64_t count);
  // The keys of the `count` best entries, best first. The span is valid until the next call.
  std::span<const uint64_t> best(std::span<const float> scores, int64_t count);

 private:
  // Without weights every entry weighs 1.
  uint64_t cut(std::span<const float> scores, std::span<const float> weights, double mass);
  void fill_bins(std::span<const float> scores, std::span<const float> weights, float top);
  int find_bin(double& mass) const;

  std::vector<double> bins_;    // the mass in each
  std::vector<uint64_t> keys_;  // of the bin that is cut
};

}  // namespace millrace
