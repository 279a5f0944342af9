#pragma once

#include <cstdint>
#include <vector>

#include "core/draw_order.h"
#include "core/params.h"
#include "text/vocab.h"

namespace millrace {

// Whether `token` ends a sequence under `params`: an end of generation, unless ignored, or a stop
// token.
bool ends_sequence(const StopParams& params, const Vocab& vocab, TokenId token);

// Forbids every token that would end the sequence too early; none from `tokens_min` tokens on.
void forbid_ends(const StopParams& params, const Vocab& vocab, int64_t generated,
                 std::vector<TokenBias>& bias);

}  // namespace millrace
