#include "apps/terminal/one_line.h"

#include <fmt/format.h>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

// Controls (C0, DEL, C1), and what reorders or hides text: zero-width and bidirectional marks, line
// and paragraph separators, the byte-order mark, tags.
bool is_obeyed(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
         code == 0xfeff || (code >= 0xe0000 && code <= 0xe007f);
}

void append_escape(char32_t code, std::string& out) {
  switch (code) {
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += fmt::format("\\u{{{:x}}}", static_cast<uint32_t>(code));
  }
}

}  // namespace

std::string one_line(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char next = decode_utf8(text);
    const std::string_view bytes = text.substr(0, next.length);
    text.remove_prefix(next.length);
    if (!next.valid) {
      for (const char byte : bytes) out += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
    } else if (next.code == '\\') {
      out += "\\\\";
    } else if (is_obeyed(next.code)) {
      append_escape(next.code, out);
    } else {
      out += bytes;
    }
  }
  return out;
}

}  // namespace millrace
