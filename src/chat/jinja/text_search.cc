#include "chat/jinja/text_search.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include <utf8proc.h>

#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// Unicode's Numeric_Type, of which utf8proc knows nothing. Digits that are no decimals (first and
// last of each stretch), and what has a number's value but a letter's category.
struct Stretch {
  int32_t first, last;
};
constexpr Stretch kDigits[] = {
    {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
    {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
    {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
    {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
    {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A},
};
constexpr int32_t kNumericLetters[] = {
    0x3405,  0x3483,  0x382A,  0x3B4D,  0x4E00,  0x4E03,  0x4E07,  0x4E09,  0x4E5D,
    0x4E8C,  0x4E94,  0x4E96,  0x4EBF,  0x4EC0,  0x4EDF,  0x4EE8,  0x4F0D,  0x4F70,
    0x5104,  0x5146,  0x5169,  0x516B,  0x516D,  0x5341,  0x5343,  0x5344,  0x5345,
    0x534C,  0x53C1,  0x53C2,  0x53C3,  0x53C4,  0x56DB,  0x58F1,  0x58F9,  0x5E7A,
    0x5EFE,  0x5EFF,  0x5F0C,  0x5F0D,  0x5F0E,  0x5F10,  0x62FE,  0x634C,  0x67D2,
    0x6F06,  0x7396,  0x767E,  0x8086,  0x842C,  0x8CAE,  0x8CB3,  0x8D30,  0x9621,
    0x9646,  0x964C,  0x9678,  0x96F6,  0xF96B,  0xF973,  0xF978,  0xF9B2,  0xF9D1,
    0xF9D3,  0xF9FD,  0x20001, 0x20064, 0x200E2, 0x20121, 0x2092A, 0x20983, 0x2098C,
    0x2099C, 0x20AEA, 0x20AFD, 0x20B19, 0x22390, 0x22998, 0x23B1B, 0x2626D, 0x2F890,
};

constexpr size_t kWordBytes = sizeof(uint64_t);
// Characters that begin in the first word of a text.
int64_t count_in_word(std::string_view text) {
  constexpr uint64_t kLowest = 0x0101'0101'0101'0101;
  uint64_t word = 0;
  std::memcpy(&word, text.data(), kWordBytes);
  const uint64_t continuations = (word >> 7) & ~(word >> 6) & kLowest;
  return static_cast<int64_t>(kWordBytes) - std::popcount(continuations);
}

utf8proc_category_t category(int32_t code_point) { return utf8proc_category(code_point); }

}  // namespace

size_t find_bytes(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  if (needle.size() > text.size() - from) return std::string_view::npos;
  // glibc's memmem is linear; std::string_view::find is not.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

CodePoint code_point_at(std::string_view text, size_t at) {
  const uint8_t first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1};
  const Utf8Char found = decode_utf8(text.substr(at));
  if (!found.valid) return {first, 1};
  return {static_cast<int32_t>(found.code), found.length};
}

size_t previous_boundary(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && is_continuation(text[at])) --at;
  return at + code_point_at(text, at).size == end ? at : end - 1;
}

int64_t count_code_points(std::string_view text) {
  int64_t count = 0;
  for (; text.size() >= kWordBytes; text.remove_prefix(kWordBytes)) count += count_in_word(text);
  return count +
         std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); });
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

size_t offset_of(std::string_view text, int64_t index) {
  size_t at = 0;
  // Words that lie before the character, and cannot hold its beginning.
  for (; at + kWordBytes <= text.size() && index > 0; at += kWordBytes) {
    const int64_t count = count_in_word(text.substr(at));
    if (count >= index) break;
    index -= count;
  }
  while (at > 0 && at < text.size() && is_continuation(text[at])) ++at;
  for (; index > 0 && at < text.size(); --index) {
    ++at;
    while (at < text.size() && is_continuation(text[at])) ++at;
  }
  return at;
}

// str.isspace: bidirectional types WS, B and S, and the category Zs.
bool is_space(int32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  if (c == 0x85) return true;
  return category(c) == UTF8PROC_CATEGORY_ZS || c == 0x2028 || c == 0x2029;
}

bool is_letter(int32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(int32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_digit(int32_t c) {
  return is_decimal(c) ||
         std::any_of(std::begin(kDigits), std::end(kDigits),
                     [&](const Stretch& each) { return c >= each.first && c <= each.last; });
}

bool is_numeric(int32_t c) {
  const utf8proc_category_t kind = category(c);
  return (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) ||
         std::binary_search(std::begin(kNumericLetters), std::end(kNumericLetters), c);
}

// As identifiers begin and go on: letters and numbers that are letters, then marks, digits and
// connectors too (Unicode Standard Annex 31).
bool begins_name(int32_t c) {
  return c == '_' || is_letter(c) || category(c) == UTF8PROC_CATEGORY_NL;
}

bool continues_name(int32_t c) {
  const utf8proc_category_t kind = category(c);
  return begins_name(c) || is_decimal(c) || kind == UTF8PROC_CATEGORY_MN ||
         kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_PC || c == 0xB7;
}

bool is_upper(int32_t c) { return utf8proc_isupper(c) != 0; }
bool is_lower(int32_t c) { return utf8proc_islower(c) != 0; }

// str.isprintable: neither "Other" nor "Separator", but the space is.
bool is_printable(int32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t kind = category(c);
  return kind != UTF8PROC_CATEGORY_CN && kind < UTF8PROC_CATEGORY_ZS;
}

}  // namespace millrace::jinja
