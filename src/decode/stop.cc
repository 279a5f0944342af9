#include "decode/stop.h"

#include <limits>
#include <span>

namespace millrace {

bool ends_sequence(const StopParams& params, const Vocab& vocab, TokenId token) {
  return (!params.ignore_eos && vocab.ends_generation(token)) || params.tokens.contains(token);
}

void forbid_ends(const StopParams& params, const Vocab& vocab, int64_t generated,
                 std::vector<TokenBias>& bias) {
  if (generated >= params.tokens_min) return;
  const auto forbid = [&](std::span<const TokenId> tokens) {
    for (const TokenId token : tokens) {
      bias.push_back({token, -std::numeric_limits<float>::infinity()});
    }
  };
  if (!params.ignore_eos) forbid(vocab.ends_of_generation());
  forbid(params.tokens);
}

}  // namespace millrace
