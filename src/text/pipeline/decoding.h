#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/split/regex.h"

namespace millrace {

// Where a token stands among those that are decoded together.
struct TokenPlace {
  bool first = false;
  bool last = false;
};

// One change on the way from a token's text to the text that it stands for. Immutable.
class DecodeStep {
 public:
  virtual ~DecodeStep() = default;
  virtual std::string apply(std::string token, TokenPlace place) const = 0;
};
using DecodeStepPtr = std::unique_ptr<const DecodeStep>;

// `mark` becomes a space; in the first token nothing, where `drop_first`.
DecodeStepPtr decode_metaspace(std::string mark, bool drop_first);
// A token that begins with `prefix` goes on where the last one ended; others take a space.
DecodeStepPtr decode_continuations(std::string prefix);
// BERT's tidying of what tokenising took apart: no space before a full stop, and so on.
DecodeStepPtr decode_clean_up();
// `suffix` becomes a space; at the end of the text nothing.
DecodeStepPtr decode_word_ends(std::string suffix);
DecodeStepPtr decode_replace(std::string pattern, std::string content);  // `pattern` is not empty
DecodeStepPtr decode_replace(Regex pattern, std::string content);
// Up to `start` times `content`, a character, from the front, `stop` times from the back.
DecodeStepPtr decode_strip(std::string content, size_t start, size_t stop);
// <0xNN> becomes that byte.
DecodeStepPtr decode_byte_tokens();
// A token in the alphabet of byte-level vocabularies becomes its bytes.
DecodeStepPtr decode_byte_alphabet();
// A space between tokens: where nothing else is said.
DecodeStepPtr decode_spaced();

// The steps in order, for each token, and then what is done to the whole. Immutable once made.
class Decoding {
 public:
  void add(DecodeStepPtr step) { steps_.push_back(std::move(step)); }
  // A step for the whole text; only its ends may change, as decode_strip does.
  void add_for_whole(DecodeStepPtr step) { whole_steps_.push_back(std::move(step)); }

  std::string piece(std::string_view token, TokenPlace place) const;
  std::string whole(std::string text) const;

 private:
  std::vector<DecodeStepPtr> steps_;
  std::vector<DecodeStepPtr> whole_steps_;
};

}  // namespace millrace
