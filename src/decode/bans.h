#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/choices.h"

namespace millrace {

// Forbids the last token of each banned sequence whose other tokens the answer ends with.
void forbid_banned(std::span<const std::vector<TokenId>> banned, std::span<const TokenId> answer,
                   std::vector<TokenBias>& bias);

// Appends the mask that allows only these tokens; nothing where there are none, which allows all.
Range allow_only(std::span<const TokenId> allowed, std::vector<uint32_t>& mask);

}  // namespace millrace
