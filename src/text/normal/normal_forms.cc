#include "text/normal/normal_forms.h"

#include <algorithm>
#include <array>
#include <vector>

#include <utf8proc.h>

#include "base/check.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

bool composes(NormalForm form) { return form == NormalForm::kNfc || form == NormalForm::kNfkc; }
bool is_compatible(NormalForm form) {
  return form == NormalForm::kNfkc || form == NormalForm::kNfkd;
}

utf8proc_option_t decompose_options(NormalForm form) {
  const int options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compatible(form) ? UTF8PROC_COMPAT : 0);
  return static_cast<utf8proc_option_t>(options);
}

// Longer than any decomposition (U+FDFA's 18 code points).
using Decomposed = std::array<utf8proc_int32_t, 32>;

std::basic_string_view<utf8proc_int32_t> decompose(char32_t code, NormalForm form,
                                                   Decomposed& room) {
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), room.data(),
                                             std::ssize(room), decompose_options(form), &boundary);
  CHECK(count >= 0 && count <= std::ssize(room), "U+{:04X} decomposes to {} code points",
        static_cast<uint32_t>(code), count);
  return {room.data(), static_cast<size_t>(count)};
}

int combining_class(utf8proc_int32_t code) { return utf8proc_get_property(code)->combining_class; }

// Hangul vowels and final consonants, which compose by arithmetic.
bool is_later_jamo(utf8proc_int32_t code) {
  return (code >= 0x1161 && code <= 0x1175) || (code >= 0x11A8 && code <= 0x11C2);
}

bool composes_with_previous(utf8proc_int32_t code) {
  // utf8proc keeps in comb_index, from 0x8000 on, where a second of a pair is listed.
  const uint16_t index = utf8proc_get_property(code)->comb_index;
  return (index >= 0x8000 && index != 0xFFFF) || is_later_jamo(code);
}

// Marks in the order of their classes, as the standard's Canonical Ordering Algorithm has it;
// utf8proc's own takes time squared in a run of them.
void order_marks(std::vector<utf8proc_int32_t>& codes) {
  for (auto begin = codes.begin(); begin != codes.end();) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end =
        std::find_if(begin, codes.end(), [](auto code) { return combining_class(code) == 0; });
    std::stable_sort(begin, end,
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

}  // namespace

bool begins_normal_run(char32_t code, NormalForm form) {
  if (code < 0x80) return true;
  auto first = static_cast<utf8proc_int32_t>(code);
  if (utf8proc_get_property(first)->decomp_seqindex != 0xFFFF) {
    Decomposed room;
    first = decompose(code, form, room).front();
  }
  return combining_class(first) == 0 && !(composes(form) && composes_with_previous(first));
}

void append_normal(std::string_view text, NormalForm form, std::string& out) {
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size());
  Decomposed room;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    const auto parts = decompose(c.code, form, room);
    codes.insert(codes.end(), parts.begin(), parts.end());
    i += c.length;
  }
  order_marks(codes);
  if (composes(form) && !codes.empty()) {
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const auto count = utf8proc_normalize_utf32(codes.data(), std::ssize(codes), options);
    CHECK(count >= 0, "code points that do not compose: {}", count);
    codes.resize(static_cast<size_t>(count));
  }
  for (const auto code : codes) append_utf8(static_cast<char32_t>(code), out);
}

}  // namespace millrace
