#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "files/checkpoint.h"
#include "models/spec.h"

namespace millrace {

// What a model means, written as plainly as possible in double precision: one token after the
// other, no cache format, no blocks, no packing. Returns [tokens, vocab].
std::vector<double> reference_logits(const Checkpoint& checkpoint, const ModelSpec& spec,
                                     std::span<const TokenId> tokens);

}  // namespace millrace
