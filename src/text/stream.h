#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/tokenizer.h"

namespace millrace {

// Text out of tokens that come one at a time. What it lets out is whole UTF-8 characters (invalid
// bytes become U+FFFD, one for each maximal subpart, as Python's errors="replace"), and never the
// beginning of what may still become a stop string. The pieces joined equal the text that would
// have come at once, cut at the first stop.
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
  // One stop string being met, byte by byte (Knuth, Morris and Pratt, "Fast pattern matching in
  // strings", 1977): `matched` bytes of it are the end of the text so far.
  struct Watch {
    std::string stop;
    std::vector<size_t> borders;  // by bytes matched: the longest shorter match at the same end
    size_t matched = 0;

    size_t after(size_t begun, char byte) const;
  };

  std::string release(bool at_end, bool heard);
  bool watch_byte(char byte);

  const Tokenizer& tokenizer_;
  Options options_;
  std::string bytes_;           // not yet decoded: the beginning of a character
  std::string held_;            // decoded, not yet shown
  std::vector<Watch> watches_;  // one for each of Options::stops
  int stopped_ = -1;
};

}  // namespace millrace
