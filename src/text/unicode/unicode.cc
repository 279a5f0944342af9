#include "text/unicode/unicode.h"

#include <cstring>
#include <vector>

#include <utf8proc.h>

namespace millrace {
namespace {

uint8_t byte_at(std::string_view bytes, size_t i) { return static_cast<uint8_t>(bytes[i]); }

constexpr size_t kAsciiWord = sizeof(uint64_t);

bool is_ascii_word(std::string_view bytes, size_t at) {
  if (bytes.size() - at < kAsciiWord) return false;
  uint64_t word = 0;
  std::memcpy(&word, bytes.data() + at, kAsciiWord);
  return (word & 0x8080808080808080) == 0;
}

struct Lead {
  uint8_t length;      // bytes of the character; 0: begins none
  uint8_t low = 0x80;  // the second byte's range
  uint8_t high = 0xBF;
};

// Unicode 15, table 3-7: well-formed byte sequences.
constexpr Lead lead_of(uint8_t byte) {
  if (byte < 0xC2 || byte > 0xF4) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {4};
}

CharClass classify(char32_t code) {
  if ((code >= 0x09 && code <= 0x0D) || code == 0x85) return kSpaceChar;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kUpperChar;
    case UTF8PROC_CATEGORY_LL:
      return kLowerChar;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kCaselessChar;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMarkChar;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumberChar;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return kSpaceChar;
    default:
      return kOtherChar;
  }
}

// Planes 0 to 3 hold every letter, number and space that is assigned: 256 KiB.
constexpr char32_t kTableEnd = 0x40000;

std::vector<CharClass> make_class_table() {
  std::vector<CharClass> table(kTableEnd);
  for (char32_t code = 0; code < kTableEnd; ++code) table[code] = classify(code);
  return table;
}

}  // namespace

Utf8Char decode_utf8(std::string_view bytes) {
  const uint8_t first = byte_at(bytes, 0);
  if (first < 0x80) return {first, 1, true};
  const Lead lead = lead_of(first);
  if (lead.length == 0) return {};
  char32_t code = first & (0x7FU >> lead.length);
  for (uint8_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {kReplacementChar, i, false, true};
    const uint8_t byte = byte_at(bytes, i);
    const bool fits = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0) == 0x80;
    if (!fits) return {kReplacementChar, i, false};
    code = code << 6 | (byte & 0x3FU);
  }
  return {code, lead.length, true};
}

size_t utf8_prefix(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    if (is_ascii_word(bytes, i)) {
      i += kAsciiWord;
      continue;
    }
    const Utf8Char c = decode_utf8(bytes.substr(i));
    if (!c.valid) break;
    i += c.length;
  }
  return i;
}

bool is_utf8(std::string_view bytes) { return utf8_prefix(bytes) == bytes.size(); }

void append_utf8(char32_t code, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

void append_replaced(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    const Utf8Char c = decode_utf8(bytes);
    if (c.valid) {
      out.append(bytes.substr(0, c.length));
    } else {
      append_utf8(kReplacementChar, out);
    }
    bytes.remove_prefix(c.length);
  }
}

std::string replace_invalid(std::string_view bytes, std::span<ByteRange> ranges) {
  std::string out;
  out.reserve(bytes.size() + 16);
  size_t r = 0;
  bool inside = false;
  ByteRange moved;
  for (size_t i = 0; i < bytes.size();) {
    const size_t length = decode_utf8(bytes.substr(i)).length;
    const size_t begin = out.size();
    append_replaced(bytes.substr(i, length), out);
    i += length;
    // Every range that touches this character covers what became of it.
    while (r < ranges.size() && ranges[r].begin < i) {
      if (!inside) moved.begin = begin;
      inside = true;
      if (ranges[r].end > i) break;
      moved.end = out.size();
      ranges[r++] = moved;
      inside = false;
    }
  }
  return out;
}

CharClass char_class(char32_t code) {
  static const std::vector<CharClass> table = make_class_table();
  return code < kTableEnd ? table[code] : classify(code);
}

bool is_word_char(char32_t code) {
  const auto is_between = [code](char32_t first, char32_t last) {
    return code >= first && code <= last;
  };
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    case UTF8PROC_CATEGORY_CF:
      return is_between(0x200C, 0x200D);
    case UTF8PROC_CATEGORY_SO:  // letters in circles and squares
      return is_between(0x24B6, 0x24E9) || is_between(0x1F130, 0x1F149) ||
             is_between(0x1F150, 0x1F169) || is_between(0x1F170, 0x1F189);
    default:
      return false;
  }
}

}  // namespace millrace
