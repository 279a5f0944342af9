#include "text/unicode/bert_classes.h"

#include <algorithm>
#include <array>
#include <span>

#include <utf8proc.h>

namespace millrace {
namespace {

struct Range {
  char32_t first, last;
};

// Between the first and the last of a range no older character is of the class.
constexpr std::array kLaterNonspacing = {
    Range{0x7FD, 0x7FD},     Range{0x898, 0x8E1},     Range{0x9FE, 0x9FE},
    Range{0xAFA, 0xAFF},     Range{0xB55, 0xB55},     Range{0xC04, 0xC3C},
    Range{0xD00, 0xD00},     Range{0xD3B, 0xD3C},     Range{0xD81, 0xD81},
    Range{0xEBA, 0xEBA},     Range{0x180F, 0x1886},   Range{0x1ABF, 0x1ACE},
    Range{0x1DF6, 0x1DFB},   Range{0xA82C, 0xA82C},   Range{0xA8C5, 0xA8C5},
    Range{0xA8FF, 0xA8FF},   Range{0xA9BD, 0xA9BD},   Range{0x10D24, 0x10F85},
    Range{0x11070, 0x11074}, Range{0x110C2, 0x110C2}, Range{0x111C9, 0x111C9},
    Range{0x111CF, 0x111CF}, Range{0x1123E, 0x1123E}, Range{0x1133B, 0x1133B},
    Range{0x11438, 0x1145E}, Range{0x1182F, 0x11EF4}, Range{0x16F4F, 0x16F4F},
    Range{0x16FE4, 0x16FE4}, Range{0x1CF00, 0x1CF46}, Range{0x1E000, 0x1E2EF},
    Range{0x1E944, 0x1E94A}};
constexpr std::array kLaterFormat = {Range{0x890, 0x891}, Range{0x8E2, 0x8E2},
                                     Range{0x110CD, 0x110CD}, Range{0x13430, 0x1343F}};

bool is_in(std::span<const Range> ranges, char32_t code) {
  const auto next = std::ranges::lower_bound(ranges, code, {}, &Range::last);
  return next != ranges.end() && next->first <= code;
}

utf8proc_category_t category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

}  // namespace

// The lookahead holds what is punctuation since Unicode 9; the two at the end were it in Unicode 8.
const std::string_view kBertPunctuation =
    R"((?![\x{61D}\x{9FD}-\x{A76}\x{C77}-\x{C84}\x{1B7D}\x{1B7E}\x{2E43}-\x{2E5D}\x{10EAD}-\x{10F89})"
    R"(\x{1144B}-\x{1145D}\x{11660}-\x{116B9}\x{1183B}-\x{11FFF}\x{12FF1}\x{12FF2})"
    R"(\x{16E97}-\x{16FE2}\x{1E95E}\x{1E95F}])[!-/:-@\[-`{-~\p{P}\x{166D}\x{111C9}])";

bool is_bert_control(char32_t code) {
  if (code == '\t' || code == '\n' || code == '\r') return false;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CO:
      return true;
    case UTF8PROC_CATEGORY_CF:
      return !is_in(kLaterFormat, code);
    default:
      return false;
  }
}

bool is_bert_nonspacing(char32_t code) {
  constexpr char32_t kHanunooPamudpod = 0x1734;  // a spacing mark since Unicode 14
  if (code == kHanunooPamudpod) return true;
  return category(code) == UTF8PROC_CATEGORY_MN && !is_in(kLaterNonspacing, code);
}

}  // namespace millrace
