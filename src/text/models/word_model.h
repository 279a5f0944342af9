#pragma once

#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/models/merges.h"

namespace millrace {

// Makes the tokens of one word, once text is normalised and cut. Immutable, safe from many threads.
class WordModel {
 public:
  // To work in, kept by the caller from word to word.
  struct Room {
    Merges::Word symbols;
  };

  virtual ~WordModel() = default;
  // Appends the tokens of `word`: UTF-8, not empty, as long as may be. They depend on nothing else.
  virtual void encode_word(std::string_view word, Room& room,
                           std::vector<TokenId>& tokens) const = 0;
  // A byte that is not UTF-8 is a word too, and has a token.
  virtual bool reads_any_byte() const { return false; }
};

}  // namespace millrace
