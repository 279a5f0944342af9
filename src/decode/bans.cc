#include "decode/bans.h"

#include <algorithm>
#include <limits>

namespace millrace {

void forbid_banned(std::span<const std::vector<TokenId>> banned, std::span<const TokenId> answer,
                   std::vector<TokenBias>& bias) {
  for (const std::vector<TokenId>& sequence : banned) {
    const auto begun = std::span(sequence).first(sequence.size() - 1);
    const bool ends_with_it =
        begun.size() <= answer.size() && std::ranges::equal(begun, answer.last(begun.size()));
    if (ends_with_it) bias.push_back({sequence.back(), -std::numeric_limits<float>::infinity()});
  }
}

Range allow_only(std::span<const TokenId> allowed, std::vector<uint32_t>& mask) {
  Range range = {static_cast<int32_t>(mask.size()), static_cast<int32_t>(mask.size())};
  if (allowed.empty()) return range;
  range.end += std::ranges::max(allowed) / 32 + 1;
  mask.resize(static_cast<size_t>(range.end), 0);
  for (const TokenId token : allowed) {
    mask[static_cast<size_t>(range.begin + token / 32)] |= 1U << (token % 32);
  }
  return range;
}

}  // namespace millrace
