#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/choices.h"

namespace millrace {

// Ranks tokens by score, best first, ties by lower id, without sorting them: a histogram of the
// distance from the best score finds where the ranking is to be cut, and only tokens near the cut
// are compared.
class Ranking {
 public:
  explicit Ranking(int64_t vocab);

  // The place of a token in the ranking: larger is better.
  static uint64_t key_of(float score, TokenId token);
  static TokenId token_of(uint64_t key) {
    return static_cast<TokenId>(~static_cast<uint32_t>(key));
  }

  // The key of the last of the best tokens: the fewest whose weights together reach `mass`, at
  // least one. scores: [vocab], one at least above minus infinity; weights: [vocab].
  uint64_t cut_at_mass(std::span<const float> scores, std::span<const float> weights, double mass);
  // The key of the last of the `count` best tokens, or of the last token where there are fewer.
  uint64_t cut_at_count(std::span<const float> scores, int64_t count);
  // The keys of the `count` best tokens, best first. The span is valid until the next call.
  std::span<const uint64_t> best(std::span<const float> scores, int64_t count);

 private:
  template <typename Weight>
  uint64_t cut(std::span<const float> scores, const Weight& weight, double mass);
  template <typename Weight>
  int find_bin(std::span<const float> scores, const Weight& weight, double& mass);

  std::vector<int32_t> counts_;  // [bins]
  std::vector<double> masses_;   // [bins]
  std::vector<uint64_t> keys_;   // of the bin that is cut, at most [vocab]
  float top_ = 0;                // the best score
};

}  // namespace millrace
