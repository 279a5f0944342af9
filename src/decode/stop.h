#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/choices.h"
#include "core/params.h"
#include "text/stream.h"
#include "text/tokenizer.h"

namespace millrace {

// Whether `token` ends an answer under `params`: an end of generation, unless ignored, or a stop
// token.
bool ends_answer(const StopParams& params, const Vocab& vocab, TokenId token);

// Forbids every token that would end the answer too early; none from `tokens_min` tokens on.
void forbid_ends(const StopParams& params, const Vocab& vocab, int64_t generated,
                 std::vector<TokenBias>& bias);

// Looks for a request's stop strings in the text of its answer, beginning after the first
// `tokens_min` tokens.
class StopStrings {
 public:
  StopStrings(const StopParams& params, const Tokenizer& tokenizer);

  // The answer's next token. Returns the index of the string that is now complete, or -1.
  int32_t push(TokenId token);

 private:
  int64_t unheard_;  // tokens until the strings count
  TextStream text_;
};

}  // namespace millrace
