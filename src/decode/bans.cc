#include "decode/bans.h"

#include <algorithm>
#include <limits>

namespace millrace {

void forbid_banned(std::span<const std::vector<TokenId>> banned, std::span<const TokenId> generated,
                   std::vector<TokenBias>& bias) {
  for (const std::vector<TokenId>& run : banned) {
    const auto begun = std::span(run).first(run.size() - 1);
    const bool ends_with_it =
        begun.size() <= generated.size() && std::ranges::equal(begun, generated.last(begun.size()));
    if (ends_with_it) bias.push_back({run.back(), -std::numeric_limits<float>::infinity()});
  }
}

std::vector<uint32_t> mask_of(const TokenSet& allowed) {
  std::vector<uint32_t> mask;
  if (allowed.empty()) return mask;
  mask.resize(static_cast<size_t>(allowed.largest() / 32 + 1), 0);
  for (const TokenId token : allowed) mask[static_cast<size_t>(token / 32)] |= 1U << (token % 32);
  return mask;
}

}  // namespace millrace
