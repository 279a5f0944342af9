#include "decode/bans.h"

#include <algorithm>
#include <limits>

namespace millrace {
namespace {

bool ends_with(std::span<const TokenId> tokens, std::span<const TokenId> end) {
  return end.size() <= tokens.size() && std::ranges::equal(end, tokens.last(end.size()));
}

}  // namespace

void forbid_banned(std::span<const std::vector<TokenId>> banned, std::span<const TokenId> generated,
                   std::span<const TokenId> ahead, std::vector<TokenBias>& bias) {
  for (const std::vector<TokenId>& run : banned) {
    const auto begun = std::span(run).first(run.size() - 1);
    const auto in_ahead = begun.last(std::min(begun.size(), ahead.size()));
    const auto before = begun.first(begun.size() - in_ahead.size());
    if (ends_with(ahead, in_ahead) && ends_with(generated, before)) {
      bias.push_back({run.back(), -std::numeric_limits<float>::infinity()});
    }
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
