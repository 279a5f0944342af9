#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/tokenizer.h"

namespace millrace {

// Text out of tokens that come one at a time. What it lets out is whole UTF-8 characters (invalid
// bytes become U+FFFD, one for each maximal subpart, as Python's errors="replace"), and never the
// beginning of what may still become a stop string. The pieces joined equal the text that would
// have come at once, cut at the first stop. A copy shares what the stops cost.
class TextStream {
 public:
  struct Options {
    // None empty; the one that ends first wins, at equal ends the longest.
    std::vector<std::string> stops = {};
    bool include_stop = false;  // the stop string stays in the text
    bool skip_special = true;
    int64_t unheard = 0;  // tokens before the stops are looked for
    // The tokens begin a text, and do not go on with one: the whole is what `decode` gives.
    bool at_start = false;
  };
  TextStream(const Tokenizer& tokenizer, Options options);

  // Adds a token; returns the text that may be shown now. After a stop nothing more comes.
  std::string push(TokenId token);
  // The end: what was held back.
  std::string finish();
  // Index into Options::stops of the string that was reached; -1: none yet.
  int stopped() const { return stopped_; }

 private:
  // A stop string to be met byte by byte (Knuth, Morris and Pratt, "Fast pattern matching in
  // strings", 1977).
  struct Watch {
    std::string stop;
    std::vector<size_t> borders;  // by bytes matched: the longest shorter match at the same end

    size_t after(size_t matched, char byte) const;
  };
  static std::vector<Watch> watches_for(const std::vector<std::string>& stops);

  std::string release(bool at_end, bool heard);
  bool watch_byte(char byte);

  const Tokenizer& tokenizer_;
  Options options_;    // but the stops
  std::string bytes_;  // not yet decoded: the beginning of a character
  std::string held_;   // decoded, not yet shown
  std::shared_ptr<const std::vector<Watch>> watches_;  // one for each of Options::stops
  std::vector<size_t> matched_;  // bytes of each that are the end of the text so far
  int stopped_ = -1;
};

}  // namespace millrace
