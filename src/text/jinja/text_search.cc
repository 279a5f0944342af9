#include "text/jinja/text_search.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include <utf8proc.h>

#include "text/unicode.h"

namespace millrace::jinja {

namespace {

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

void append(std::string& text, utf8proc_int32_t code_point) {
  append_utf8(static_cast<char32_t>(code_point), text);
}

utf8proc_category_t category(int32_t code_point) { return utf8proc_category(code_point); }

// Where Unicode's SpecialCasing.txt maps one character to several, and utf8proc's simple mappings
// do not. Sorted by the character.
struct SpecialUpper {
  int32_t code_point;
  std::string_view upper;
};
constexpr SpecialUpper kSpecialUppers[] = {
    {0x00DF, "SS"},      {0x0149, "\u02BCN"}, {0x01F0, "J\u030C"}, {0x0587, "\u0535\u0552"},
    {0x1E96, "H\u0331"}, {0x1E97, "T\u0308"}, {0x1E98, "W\u030A"}, {0x1E99, "Y\u030A"},
    {0x1E9A, "A\u02BE"}, {0xFB00, "FF"},      {0xFB01, "FI"},      {0xFB02, "FL"},
    {0xFB03, "FFI"},     {0xFB04, "FFL"},     {0xFB05, "ST"},      {0xFB06, "ST"},
};

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
  return std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); });
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

size_t offset_of(std::string_view text, int64_t index) {
  size_t at = 0;
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

bool is_numeric(int32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_upper(int32_t c) { return utf8proc_isupper(c) != 0; }
bool is_lower(int32_t c) { return utf8proc_islower(c) != 0; }

// str.isprintable: neither "Other" nor "Separator", but the space is.
bool is_printable(int32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t kind = category(c);
  return kind != UTF8PROC_CATEGORY_CN && kind < UTF8PROC_CATEGORY_ZS;
}

void append_upper(std::string& text, int32_t c) {
  const auto* special = std::lower_bound(
      std::begin(kSpecialUppers), std::end(kSpecialUppers), c,
      [](const SpecialUpper& entry, int32_t key) { return entry.code_point < key; });
  if (special != std::end(kSpecialUppers) && special->code_point == c) {
    text += special->upper;
  } else {
    append(text, utf8proc_toupper(c));
  }
}

void append_lower(std::string& text, int32_t c) {
  constexpr int32_t kCapitalIWithDot = 0x0130;
  if (c == kCapitalIWithDot) {
    text += "i\u0307";
  } else {
    append(text, utf8proc_tolower(c));
  }
}

void append_title(std::string& text, int32_t c) {
  constexpr int32_t kSharpS = 0x00DF;
  if (c == kSharpS) {
    text += "Ss";
  } else {
    append(text, utf8proc_totitle(c));
  }
}

}  // namespace millrace::jinja
