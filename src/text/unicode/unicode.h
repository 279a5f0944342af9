#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "text/marked_text.h"

namespace millrace {

inline constexpr char32_t kReplacementChar = 0xFFFD;

// The first character of some bytes, or the bytes that are none.
struct Utf8Char {
  char32_t code = kReplacementChar;
  uint8_t length =
      1;  // bytes; where invalid, those of the maximal subpart (Unicode 15, section 3.9)
  bool valid = false;
  bool cut = false;  // invalid only because the bytes end here: more could complete it
};
Utf8Char decode_utf8(std::string_view bytes);  // not empty

bool is_utf8(std::string_view bytes);
size_t utf8_prefix(std::string_view bytes);  // how many bytes at the front are UTF-8
// Appends `bytes` with U+FFFD for each maximal invalid subpart, as Python's errors="replace" does.
void append_replaced(std::string_view bytes, std::string& out);
// The same for a whole text; `ranges` (ascending, disjoint) move along with their bytes and grow to
// whole characters.
std::string replace_invalid(std::string_view bytes, std::span<ByteRange> ranges);

void append_utf8(char32_t code, std::string& out);

// What the split patterns tell apart. Each is a bit, so that a set of them is their sum.
enum CharClass : uint8_t {
  kOtherChar = 1,
  kSpaceChar = 2,      // White_Space
  kNumberChar = 4,     // \p{N}
  kMarkChar = 8,       // \p{M}
  kUpperChar = 16,     // \p{Lu} \p{Lt}
  kLowerChar = 32,     // \p{Ll}
  kCaselessChar = 64,  // \p{Lm} \p{Lo}
  kLetterChars = kUpperChar | kLowerChar | kCaselessChar,
};
CharClass char_class(char32_t code);
// What \w is in Unicode's regular expressions (Technical Standard 18, annex C).
bool is_word_char(char32_t code);

}  // namespace millrace
