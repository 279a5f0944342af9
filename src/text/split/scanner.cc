#include "text/split/scanner.h"

#include <array>
#include <vector>

#include <utf8proc.h>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

using Family = SplitRules::Family;

constexpr std::array<CharClass, 128> kAsciiClass = [] {
  std::array<CharClass, 128> table{};
  for (size_t c = 0; c < 128; ++c) {
    table[c] = kOtherChar;
    if (c >= 'A' && c <= 'Z') table[c] = kUpperChar;
    if (c >= 'a' && c <= 'z') table[c] = kLowerChar;
    if (c >= '0' && c <= '9') table[c] = kNumberChar;
    if (c == ' ' || (c >= '\t' && c <= '\r')) table[c] = kSpaceChar;
  }
  return table;
}();

struct Scanned {
  CharClass kind;
  size_t end;  // where the next character begins
};

Scanned scan(std::string_view text, size_t at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80) return {kAsciiClass[byte], at + 1};
  const Utf8Char c = decode_utf8(text.substr(at));
  return {char_class(c.code), at + c.length};
}

bool is_line_end(char c) { return c == '\r' || c == '\n'; }

bool begins_with(std::string_view text, size_t at, int kinds) {
  return at < text.size() && (scan(text, at).kind & kinds) != 0;
}

// Past the run of `kinds` that begins at `at`.
size_t run_end(std::string_view text, size_t at, int kinds) {
  while (at < text.size()) {
    const Scanned c = scan(text, at);
    if ((c.kind & kinds) == 0) break;
    at = c.end;
  }
  return at;
}

// Bytes of 's 't 're 've 'm 'll 'd at the front of `text`, 0 for none of them.
size_t contraction(std::string_view text, bool any_case) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const auto letter = [&](size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  switch (letter(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return letter(2) == 'e' ? 3 : 0;
    case 'l':
      return letter(2) == 'l' ? 3 : 0;
    default:
      // U+017F, the long s, is an s whatever the case (Unicode CaseFolding).
      return any_case && text.substr(1).starts_with("\xC5\xBF") ? 3 : 0;
  }
}

// The word at one place of a text, as one set of rules sees it.
class WordScan {
 public:
  WordScan(std::string_view text, size_t begin, const SplitRules& rules)
      : text_(text), begin_(begin), rules_(rules) {
    if (rules.marks_are_letters) letters_ |= kMarkChar;
  }

  size_t end() const {
    const bool gpt2 = rules_.family == Family::kGpt2;
    const char byte = text_[begin_];
    if (rules_.contractions && rules_.family != Family::kO200k) {
      const size_t bytes = contraction(text_.substr(begin_), !gpt2);
      if (bytes > 0) return begin_ + bytes;
    }
    const Scanned first = scan(text_, begin_);
    if (const size_t end = letters_end(first); end > 0) return end;
    if (first.kind == kNumberChar) return number_end();
    if ((first.kind & others()) != 0) return punctuation_end(begin_);
    if (byte == ' ' && begins_with(text_, first.end, others())) return punctuation_end(first.end);
    if (byte == ' ' && gpt2 && rules_.numbers_max == 0 &&
        begins_with(text_, first.end, kNumberChar)) {
      return run_end(text_, first.end, kNumberChar);
    }
    return space_end();
  }

 private:
  int others() const { return (kOtherChar | kMarkChar) & ~letters_; }

  // Of a word of letters and the character that it may take before it; 0: there is none here.
  size_t letters_end(const Scanned& first) const {
    const char byte = text_[begin_];
    const bool is_prefix =
        rules_.family == Family::kGpt2
            ? byte == ' '
            : (first.kind & (kLetterChars | kNumberChar)) == 0 && !is_line_end(byte);
    if (rules_.family == Family::kO200k) return cased_end(first, is_prefix);
    if ((first.kind & letters_) != 0) return run_end(text_, first.end, letters_);
    if (!is_prefix || !begins_with(text_, first.end, letters_)) return 0;
    return run_end(text_, first.end, letters_);
  }

  // [upper]*[lower]+ before [upper]+[lower]*, where caseless letters and marks are both, and each
  // of the two first with the prefix and then without.
  size_t cased_end(const Scanned& first, bool is_prefix) const {
    size_t end = is_prefix ? ends_in_small(first.end) : 0;
    if (end == 0) end = ends_in_small(begin_);
    if (end == 0 && is_prefix) end = begins_in_capitals(first.end);
    if (end == 0) end = begins_in_capitals(begin_);
    if (end > 0 && rules_.contractions) end += contraction(text_.substr(end), /*any_case=*/true);
    return end;
  }

  static constexpr int kEither = kCaselessChar | kMarkChar;

  size_t ends_in_small(size_t at) const {
    size_t last_either = 0;  // where the last character ends that can be the small one
    while (begins_with(text_, at, kUpperChar | kEither)) {
      const Scanned c = scan(text_, at);
      if ((c.kind & kEither) != 0) last_either = c.end;
      at = c.end;
    }
    const size_t end = run_end(text_, at, kLowerChar | kEither);
    return end > at ? end : last_either;
  }

  size_t begins_in_capitals(size_t at) const {
    const size_t end = run_end(text_, at, kUpperChar | kEither);
    return end > at ? run_end(text_, end, kLowerChar | kEither) : 0;
  }

  size_t number_end() const {
    if (rules_.numbers_max == 0) return run_end(text_, begin_, kNumberChar);
    size_t end = begin_;
    for (int32_t n = 0; n < rules_.numbers_max && begins_with(text_, end, kNumberChar); ++n) {
      end = scan(text_, end).end;
    }
    return end;
  }

  size_t punctuation_end(size_t begin) const {
    size_t end = run_end(text_, begin, others());
    if (rules_.family == Family::kGpt2) return end;
    while (end < text_.size() && rules_.line_ends.find(text_[end]) != std::string_view::npos) ++end;
    return end;
  }

  size_t space_end() const {
    const size_t end = run_end(text_, begin_, kSpaceChar);
    if (rules_.family != Family::kGpt2) {
      const size_t line_end = text_.substr(begin_, end - begin_).find_last_of("\r\n");
      if (line_end != std::string_view::npos) return begin_ + line_end + 1;
    }
    if (end == text_.size()) return end;
    if (rules_.numbers_apart && begins_with(text_, end, kNumberChar)) return end;
    // The last space belongs to what follows, unless it is all there is.
    size_t last = end - 1;
    while ((static_cast<uint8_t>(text_[last]) & 0xC0) == 0x80) --last;
    return last > begin_ ? last : end;
  }

  std::string_view text_;
  size_t begin_;
  const SplitRules& rules_;
  int letters_ = kLetterChars;
};

utf8proc_category_t category_at(std::string_view text, size_t at) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(decode_utf8(text.substr(at)).code));
}

bool is_digit_at(std::string_view text, size_t at, Family family) {
  if (!begins_with(text, at, kNumberChar)) return false;
  return family == Family::kNumberGroups || category_at(text, at) == UTF8PROC_CATEGORY_ND;
}

// \w of the engine that these expressions were written for: letters, marks, numbers, connectors.
bool is_word_at(std::string_view text, size_t at) {
  return begins_with(text, at, kLetterChars | kMarkChar | kNumberChar) ||
         (at < text.size() && category_at(text, at) == UTF8PROC_CATEGORY_PC);
}

void scan_groups(std::string_view text, Family family, absl::FunctionRef<void(ByteRange)> each) {
  std::vector<size_t> digits;  // where each of a run begins
  for (size_t at = 0; at < text.size();) {
    digits.clear();
    while (is_digit_at(text, at, family)) {
      digits.push_back(at);
      at = scan(text, at).end;
    }
    const size_t run_end = at;
    if (digits.empty()) {
      at = scan(text, at).end;
      continue;
    }
    if (family == Family::kDecimalGroups && is_word_at(text, run_end)) continue;
    const size_t odd = digits.size() % 3;
    if (family == Family::kDecimalCuts) {
      for (size_t i = odd; i < digits.size(); i += 3) each({digits[i], digits[i]});
      continue;
    }
    if (odd > 0) each({digits[0], odd < digits.size() ? digits[odd] : run_end});
    for (size_t i = odd; i < digits.size(); i += 3) {
      each({digits[i], i + 3 < digits.size() ? digits[i + 3] : run_end});
    }
  }
}

}  // namespace

size_t word_end(std::string_view text, size_t begin, const SplitRules& rules) {
  return WordScan(text, begin, rules).end();
}

void scan_matches(std::string_view text, const SplitRules& rules,
                  absl::FunctionRef<void(ByteRange)> each) {
  if (!rules.finds_words()) return scan_groups(text, rules.family, each);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = word_end(text, begin, rules);
    each({begin, end});
    begin = end;
  }
}

}  // namespace millrace
