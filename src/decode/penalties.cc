#include "decode/penalties.h"

namespace millrace {

bool TokenCounts::needed(const SamplingParams& params) {
  return params.repetition != 1 || params.presence != 0 || params.frequency != 0;
}

TokenCounts::TokenCounts(const SamplingParams& params, std::span<const TokenId> prompt) {
  if (params.repetition == 1) return;
  for (const TokenId token : prompt) ++of(token).in_prompt;
}

TokenCount& TokenCounts::of(TokenId token) {
  const auto [found, fresh] = index_.try_emplace(token, counts_.size());
  if (fresh) counts_.push_back({.token = token});
  return counts_[found->second];
}

}  // namespace millrace
