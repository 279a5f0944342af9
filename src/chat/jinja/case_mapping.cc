#include "chat/jinja/case_mapping.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <utf8proc.h>

#include "chat/jinja/text_search.h"
#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

// Where Unicode's SpecialCasing.txt maps one character to several, and utf8proc's simple mappings
// do not. Sorted by the character.
struct Special {
  int32_t code_point;
  std::string_view upper, title;
};
constexpr Special kSpecials[] = {
    {0x00DF, "SS", "Ss"},
    {0x0149, "\u02BCN", "\u02BCN"},
    {0x01F0, "J\u030C", "J\u030C"},
    {0x0390, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},
    {0x03B0, "\u03A5\u0308\u0301", "\u03A5\u0308\u0301"},
    {0x0587, "\u0535\u0552", "\u0535\u0582"},
    {0x1E96, "H\u0331", "H\u0331"},
    {0x1E97, "T\u0308", "T\u0308"},
    {0x1E98, "W\u030A", "W\u030A"},
    {0x1E99, "Y\u030A", "Y\u030A"},
    {0x1E9A, "A\u02BE", "A\u02BE"},
    {0x1F50, "\u03A5\u0313", "\u03A5\u0313"},
    {0x1F52, "\u03A5\u0313\u0300", "\u03A5\u0313\u0300"},
    {0x1F54, "\u03A5\u0313\u0301", "\u03A5\u0313\u0301"},
    {0x1F56, "\u03A5\u0313\u0342", "\u03A5\u0313\u0342"},
    {0x1F80, "\u1F08\u0399", "\u1F88"},
    {0x1F81, "\u1F09\u0399", "\u1F89"},
    {0x1F82, "\u1F0A\u0399", "\u1F8A"},
    {0x1F83, "\u1F0B\u0399", "\u1F8B"},
    {0x1F84, "\u1F0C\u0399", "\u1F8C"},
    {0x1F85, "\u1F0D\u0399", "\u1F8D"},
    {0x1F86, "\u1F0E\u0399", "\u1F8E"},
    {0x1F87, "\u1F0F\u0399", "\u1F8F"},
    {0x1F88, "\u1F08\u0399", "\u1F88"},
    {0x1F89, "\u1F09\u0399", "\u1F89"},
    {0x1F8A, "\u1F0A\u0399", "\u1F8A"},
    {0x1F8B, "\u1F0B\u0399", "\u1F8B"},
    {0x1F8C, "\u1F0C\u0399", "\u1F8C"},
    {0x1F8D, "\u1F0D\u0399", "\u1F8D"},
    {0x1F8E, "\u1F0E\u0399", "\u1F8E"},
    {0x1F8F, "\u1F0F\u0399", "\u1F8F"},
    {0x1F90, "\u1F28\u0399", "\u1F98"},
    {0x1F91, "\u1F29\u0399", "\u1F99"},
    {0x1F92, "\u1F2A\u0399", "\u1F9A"},
    {0x1F93, "\u1F2B\u0399", "\u1F9B"},
    {0x1F94, "\u1F2C\u0399", "\u1F9C"},
    {0x1F95, "\u1F2D\u0399", "\u1F9D"},
    {0x1F96, "\u1F2E\u0399", "\u1F9E"},
    {0x1F97, "\u1F2F\u0399", "\u1F9F"},
    {0x1F98, "\u1F28\u0399", "\u1F98"},
    {0x1F99, "\u1F29\u0399", "\u1F99"},
    {0x1F9A, "\u1F2A\u0399", "\u1F9A"},
    {0x1F9B, "\u1F2B\u0399", "\u1F9B"},
    {0x1F9C, "\u1F2C\u0399", "\u1F9C"},
    {0x1F9D, "\u1F2D\u0399", "\u1F9D"},
    {0x1F9E, "\u1F2E\u0399", "\u1F9E"},
    {0x1F9F, "\u1F2F\u0399", "\u1F9F"},
    {0x1FA0, "\u1F68\u0399", "\u1FA8"},
    {0x1FA1, "\u1F69\u0399", "\u1FA9"},
    {0x1FA2, "\u1F6A\u0399", "\u1FAA"},
    {0x1FA3, "\u1F6B\u0399", "\u1FAB"},
    {0x1FA4, "\u1F6C\u0399", "\u1FAC"},
    {0x1FA5, "\u1F6D\u0399", "\u1FAD"},
    {0x1FA6, "\u1F6E\u0399", "\u1FAE"},
    {0x1FA7, "\u1F6F\u0399", "\u1FAF"},
    {0x1FA8, "\u1F68\u0399", "\u1FA8"},
    {0x1FA9, "\u1F69\u0399", "\u1FA9"},
    {0x1FAA, "\u1F6A\u0399", "\u1FAA"},
    {0x1FAB, "\u1F6B\u0399", "\u1FAB"},
    {0x1FAC, "\u1F6C\u0399", "\u1FAC"},
    {0x1FAD, "\u1F6D\u0399", "\u1FAD"},
    {0x1FAE, "\u1F6E\u0399", "\u1FAE"},
    {0x1FAF, "\u1F6F\u0399", "\u1FAF"},
    {0x1FB2, "\u1FBA\u0399", "\u1FBA\u0345"},
    {0x1FB3, "\u0391\u0399", "\u1FBC"},
    {0x1FB4, "\u0386\u0399", "\u0386\u0345"},
    {0x1FB6, "\u0391\u0342", "\u0391\u0342"},
    {0x1FB7, "\u0391\u0342\u0399", "\u0391\u0342\u0345"},
    {0x1FBC, "\u0391\u0399", "\u1FBC"},
    {0x1FC2, "\u1FCA\u0399", "\u1FCA\u0345"},
    {0x1FC3, "\u0397\u0399", "\u1FCC"},
    {0x1FC4, "\u0389\u0399", "\u0389\u0345"},
    {0x1FC6, "\u0397\u0342", "\u0397\u0342"},
    {0x1FC7, "\u0397\u0342\u0399", "\u0397\u0342\u0345"},
    {0x1FCC, "\u0397\u0399", "\u1FCC"},
    {0x1FD2, "\u0399\u0308\u0300", "\u0399\u0308\u0300"},
    {0x1FD3, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},
    {0x1FD6, "\u0399\u0342", "\u0399\u0342"},
    {0x1FD7, "\u0399\u0308\u0342", "\u0399\u0308\u0342"},
    {0x1FE2, "\u03A5\u0308\u0300", "\u03A5\u0308\u0300"},
    {0x1FE3, "\u03A5\u0308\u0301", "\u03A5\u0308\u0301"},
    {0x1FE4, "\u03A1\u0313", "\u03A1\u0313"},
    {0x1FE6, "\u03A5\u0342", "\u03A5\u0342"},
    {0x1FE7, "\u03A5\u0308\u0342", "\u03A5\u0308\u0342"},
    {0x1FF2, "\u1FFA\u0399", "\u1FFA\u0345"},
    {0x1FF3, "\u03A9\u0399", "\u1FFC"},
    {0x1FF4, "\u038F\u0399", "\u038F\u0345"},
    {0x1FF6, "\u03A9\u0342", "\u03A9\u0342"},
    {0x1FF7, "\u03A9\u0342\u0399", "\u03A9\u0342\u0345"},
    {0x1FFC, "\u03A9\u0399", "\u1FFC"},
    {0xFB00, "FF", "Ff"},
    {0xFB01, "FI", "Fi"},
    {0xFB02, "FL", "Fl"},
    {0xFB03, "FFI", "Ffi"},
    {0xFB04, "FFL", "Ffl"},
    {0xFB05, "ST", "St"},
    {0xFB06, "ST", "St"},
    {0xFB13, "\u0544\u0546", "\u0544\u0576"},
    {0xFB14, "\u0544\u0535", "\u0544\u0565"},
    {0xFB15, "\u0544\u053B", "\u0544\u056B"},
    {0xFB16, "\u054E\u0546", "\u054E\u0576"},
    {0xFB17, "\u0544\u053D", "\u0544\u056D"},
};

void append(std::string& text, utf8proc_int32_t code_point) {
  append_utf8(static_cast<char32_t>(code_point), text);
}

const Special* find_special(int32_t c) {
  const auto* found =
      std::lower_bound(std::begin(kSpecials), std::end(kSpecials), c,
                       [](const Special& each, int32_t key) { return each.code_point < key; });
  return found != std::end(kSpecials) && found->code_point == c ? found : nullptr;
}

void append_upper(std::string& text, int32_t c) {
  if (const Special* special = find_special(c)) {
    text += special->upper;
  } else {
    append(text, utf8proc_toupper(c));
  }
}

void append_title(std::string& text, int32_t c) {
  if (const Special* special = find_special(c)) {
    text += special->title;
  } else {
    append(text, utf8proc_totitle(c));
  }
}

void append_folded(std::string& text, int32_t c) {
  std::array<utf8proc_int32_t, 8> folded{};
  int boundary = 0;
  const utf8proc_ssize_t size =
      utf8proc_decompose_char(c, folded.data(), std::ssize(folded), UTF8PROC_CASEFOLD, &boundary);
  for (utf8proc_ssize_t i = 0; i < size; ++i) append(text, folded[static_cast<size_t>(i)]);
}

bool is_title_letter(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(int32_t c) { return is_upper(c) || is_lower(c) || is_title_letter(c); }

// What may stand between letters of a word (Unicode 3.13, Case_Ignorable).
bool is_ignorable(int32_t c) {
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019;
  }
}

// Maps one character after another, knowing the whole text: a sigma is written otherwise at the
// end of a word, and what came before decides for titles.
class CaseMapper {
 public:
  CaseMapper(std::string_view whole, Case to) : whole_(whole), to_(to) {}

  // `bytes` are the next ones of the whole.
  std::string map(std::string_view bytes) {
    std::string mapped;
    mapped.reserve(bytes.size());
    for (size_t at = 0; at < bytes.size();) {
      const CodePoint c = code_point_at(bytes, at);
      if (c.value >= 0x80 && c.size == 1) {
        mapped += bytes[at];
      } else {
        append_mapped(mapped, c.value);
      }
      at += c.size;
      at_ += c.size;
    }
    return mapped;
  }

 private:
  void append_mapped(std::string& mapped, int32_t c) {
    const bool is_start = !std::exchange(follows_, to_ == Case::kTitle ? is_cased(c) : true);
    switch (to_) {
      case Case::kUpper:
        return append_upper(mapped, c);
      case Case::kLower:
        return append_lower(mapped, c);
      case Case::kFolded:
        return append_folded(mapped, c);
      case Case::kCapitalized:
      case Case::kTitle:
        return is_start ? append_title(mapped, c) : append_lower(mapped, c);
      case Case::kSwapped:
        if (is_upper(c)) return append_lower(mapped, c);
        return is_lower(c) ? append_upper(mapped, c) : append(mapped, c);
    }
  }

  void append_lower(std::string& mapped, int32_t c) const {
    constexpr int32_t kCapitalIWithDot = 0x0130;
    constexpr int32_t kSigma = 0x03A3;
    constexpr int32_t kFinalSigma = 0x03C2;
    if (c == kCapitalIWithDot) {
      mapped += "i\u0307";
    } else if (c == kSigma && ends_word()) {
      append(mapped, kFinalSigma);
    } else {
      append(mapped, utf8proc_tolower(c));
    }
  }

  // Whether letters come before the place, and none after it. Looks no further than words go.
  bool ends_word() const {
    constexpr int kReach = 64;
    size_t before = at_;
    for (int i = 0; i < kReach && before > 0; ++i) {
      before = previous_boundary(whole_, before);
      const int32_t c = code_point_at(whole_, before).value;
      if (is_ignorable(c)) continue;
      if (!is_cased(c)) return false;
      return !is_followed();
    }
    return false;
  }
  bool is_followed() const {
    constexpr int kReach = 64;
    size_t after = at_ + code_point_at(whole_, at_).size;
    for (int i = 0; i < kReach && after < whole_.size(); ++i) {
      const CodePoint c = code_point_at(whole_, after);
      if (!is_ignorable(c.value)) return is_cased(c.value);
      after += c.size;
    }
    return false;
  }

  const std::string_view whole_;
  const Case to_;
  size_t at_ = 0;
  bool follows_ = false;  // a character that makes the next one lower case in a title
};

}  // namespace

absl::StatusOr<Value> change_case(Workspace& work, const Text& text, Case to) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 2));
  TextBuilder out(work);
  CaseMapper mapper(text.view(), to);
  for_each_run(text, [&](std::string_view bytes, bool is_written) {
    out.append(mapper.map(bytes), is_written);
  });
  ASSIGN_OR_RETURN(Value result, out.finish());
  std::get<Text>(result).is_markup = text.is_markup;
  return result;
}

bool is_title(std::string_view text) {
  bool has_letters = false;
  bool follows = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const bool is_capital = is_upper(c.value) || is_title_letter(c.value);
    if (is_capital && follows) return false;
    if (is_lower(c.value) && !follows) return false;
    follows = is_capital || is_lower(c.value);
    has_letters = has_letters || follows;
    at += c.size;
  }
  return has_letters;
}

}  // namespace millrace::jinja
