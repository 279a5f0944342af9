#pragma once

#include <span>
#include <string>

#include "base/check.h"
#include "text/stream.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace millrace {

// What a stream is held against. For tests and fuzz targets.

inline std::string joined_pieces(TextStream& stream, std::span<const TokenId> tokens) {
  std::string joined;
  for (const TokenId token : tokens) {
    const std::string piece = stream.push(token);
    CHECK(is_utf8(piece), "a piece that is not UTF-8");
    joined += piece;
  }
  return joined + stream.finish();
}

inline std::string decoded_whole(const Tokenizer& tokenizer, std::span<const TokenId> tokens,
                                 bool skip_special) {
  std::string whole;
  append_replaced(tokenizer.decode(tokens, {.skip_special = skip_special}), whole);
  return whole;
}

}  // namespace millrace
