#include "decode/penalties.h"

namespace millrace {

bool TokenCounts::needed(const SamplingParams& params) {
  return params.repetition != 1 || params.presence != 0 || params.frequency != 0;
}

TokenCounts::TokenCounts(const SamplingParams& params, std::span<const TokenId> prompt) {
  if (params.repetition == 1) return;
  for (const TokenId token : prompt) ++of(token).in_prompt;
}

void TokenCounts::list(std::span<const TokenId> ahead, std::vector<TokenCount>& counts) const {
  const size_t begin = counts.size();
  // One by one: the counts grow by one each step, and a range would get just the memory it needs.
  for (const TokenCount& count : counts_) counts.push_back(count);
  for (const TokenId token : ahead) {
    const auto found = index_.find(token);
    size_t at = begin + (found == index_.end() ? counts_.size() : found->second);
    while (at < counts.size() && counts[at].token != token) ++at;
    if (at == counts.size()) counts.push_back({.token = token});
    ++counts[at].in_output;
  }
}

TokenCount& TokenCounts::of(TokenId token) {
  const auto [found, fresh] = index_.try_emplace(token, counts_.size());
  if (fresh) counts_.push_back({.token = token});
  return counts_[found->second];
}

}  // namespace millrace
