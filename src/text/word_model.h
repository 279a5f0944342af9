#pragma once

#include <string_view>
#include <vector>

#include "base/ids.h"

namespace millrace {

// Makes the tokens of one word, once text is normalised and cut. Immutable, safe from many threads.
class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of `word`: UTF-8, not empty, as long as may be. They depend on nothing else.
  virtual void encode_word(std::string_view word, std::vector<TokenId>& tokens) const = 0;
};

}  // namespace millrace
