#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "core/draw_order.h"
#include "core/params.h"

namespace millrace {

// How often each token came, for the penalties that ask.
class TokenCounts {
 public:
  static bool needed(const SamplingParams& params);
  // Counts the prompt only where a penalty looks at it.
  TokenCounts(const SamplingParams& params, std::span<const TokenId> prompt);

  void add(TokenId generated) { ++of(generated).in_output; }
  // Appends the counts with those of `ahead` added, each token once.
  void list(std::span<const TokenId> ahead, std::vector<TokenCount>& counts) const;

 private:
  TokenCount& of(TokenId token);

  std::vector<TokenCount> counts_;  // in the order of their first appearance
  absl::flat_hash_map<TokenId, size_t> index_;
};

}  // namespace millrace
