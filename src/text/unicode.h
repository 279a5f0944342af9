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
// Appends `bytes` with U+FFFD for each maximal invalid subpart, as Python's errors="replace" does.
void append_replaced(std::string_view bytes, std::string& out);
// The same for a whole text; `ranges` (ascending, disjoint) move along with their bytes and grow to
// whole characters.
std::string replace_invalid(std::string_view bytes, std::span<ByteRange> ranges);

void append_utf8(char32_t code, std::string& out);

// What the split patterns tell apart: \p{L}, \p{N}, \s (White_Space) and the rest.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };
CharClass char_class(char32_t code);

}  // namespace millrace
