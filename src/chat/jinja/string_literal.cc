#include "chat/jinja/string_literal.h"

#include <charconv>
#include <cstdint>

#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

struct SimpleEscape {
  char letter;
  std::string_view meaning;
};
constexpr SimpleEscape kSimpleEscapes[] = {
    {'\n', ""},  {'\\', "\\"}, {'\'', "'"}, {'"', "\""}, {'a', "\a"}, {'b', "\b"},
    {'f', "\f"}, {'n', "\n"},  {'r', "\r"}, {'t', "\t"}, {'v', "\v"},
};

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// Reads the digits of \x, \u or \U at `at` and moves it behind them.
absl::Status append_hex(std::string_view literal, size_t& at, size_t digits, std::string& text) {
  const std::string_view hex = literal.substr(at, digits);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  if (hex.size() < digits || end != hex.data() + digits || error != std::errc()) {
    return invalid_argument("an escape of {} hexadecimal digits is cut short", digits);
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return invalid_argument("U+{:04X} is no character", value);
  }
  append_utf8(value, text);
  at += digits;
  return absl::OkStatus();
}

absl::Status append_escape(std::string_view literal, size_t& at, std::string& text) {
  const char letter = literal[at++];
  for (const SimpleEscape& escape : kSimpleEscapes) {
    if (escape.letter == letter) {
      text += escape.meaning;
      return absl::OkStatus();
    }
  }
  if (is_octal(letter)) {
    uint32_t value = static_cast<uint32_t>(letter - '0');
    for (int i = 0; i < 2 && at < literal.size() && is_octal(literal[at]); ++i) {
      value = value * 8 + static_cast<uint32_t>(literal[at++] - '0');
    }
    append_utf8(value, text);
    return absl::OkStatus();
  }
  if (letter == 'x') return append_hex(literal, at, 2, text);
  if (letter == 'u') return append_hex(literal, at, 4, text);
  if (letter == 'U') return append_hex(literal, at, 8, text);
  if (letter == 'N')
    return unimplemented("escapes by character name (\\N{{...}}) are not supported");
  text += '\\';
  text += letter;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> unescape(std::string_view literal) {
  std::string text;
  text.reserve(literal.size());
  for (size_t at = 0; at < literal.size();) {
    if (literal[at] != '\\') {
      text += literal[at++];
    } else {
      RETURN_IF_ERROR(append_escape(literal, ++at, text));
    }
  }
  return text;
}

}  // namespace millrace::jinja
