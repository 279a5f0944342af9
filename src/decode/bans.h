#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/draw_order.h"
#include "core/token_set.h"

namespace millrace {

// Forbids the last token of each banned run whose other tokens `generated` and then `ahead` end
// with.
void forbid_banned(std::span<const std::vector<TokenId>> banned, std::span<const TokenId> generated,
                   std::span<const TokenId> ahead, std::vector<TokenBias>& bias);

// The mask that allows only these tokens; of none, which allows all, no words.
std::vector<uint32_t> mask_of(const TokenSet& allowed);

}  // namespace millrace
