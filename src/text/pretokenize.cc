#include "text/pretokenize.h"

#include <algorithm>

#include "text/unicode.h"

namespace millrace {
namespace {

using Family = SplitRules::Family;

constexpr std::array kPatterns = {
    SplitPattern{{"gpt-2"},
                 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                 {Family::kGpt2, 0}},
    SplitPattern{
        {"smollm"},
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+)",
        {Family::kGpt2, 1}},
    SplitPattern{
        {"llama-bpe", "llama3", "llama-v3"},
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        {Family::kCl100k, 3},
        /*ignore_merges=*/true,
        /*add_bos=*/true},
    SplitPattern{
        {"qwen2"},
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        {Family::kCl100k, 1}},
};

constexpr std::array<CharClass, 128> kAsciiClass = [] {
  std::array<CharClass, 128> table{};
  for (size_t c = 0; c < 128; ++c) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (letter) table[c] = CharClass::kLetter;
    if (c >= '0' && c <= '9') table[c] = CharClass::kNumber;
    if (c == ' ' || (c >= '\t' && c <= '\r')) table[c] = CharClass::kSpace;
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

bool begins_with(std::string_view text, size_t at, CharClass kind) {
  return at < text.size() && scan(text, at).kind == kind;
}

// Past the run of `kind` that begins at `at`.
size_t run_end(std::string_view text, size_t at, CharClass kind) {
  while (at < text.size()) {
    const Scanned c = scan(text, at);
    if (c.kind != kind) break;
    at = c.end;
  }
  return at;
}

// Bytes of 's 't 're 've 'm 'll 'd at the front of `text`, 0 for none of them.
size_t contraction(std::string_view text, bool any_case) {
  if (text.size() < 2) return 0;
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

size_t number_end(std::string_view text, size_t begin, int32_t numbers_max) {
  if (numbers_max == 0) return run_end(text, begin, CharClass::kNumber);
  for (int32_t n = 0; n < numbers_max && begins_with(text, begin, CharClass::kNumber); ++n) {
    begin = scan(text, begin).end;
  }
  return begin;
}

size_t punctuation_end(std::string_view text, size_t begin, Family family) {
  size_t end = run_end(text, begin, CharClass::kOther);
  if (family == Family::kCl100k) {
    while (end < text.size() && is_line_end(text[end])) ++end;
  }
  return end;
}

size_t space_end(std::string_view text, size_t begin, const SplitRules& rules) {
  const size_t end = run_end(text, begin, CharClass::kSpace);
  if (rules.family == Family::kCl100k) {
    const std::string_view run = text.substr(begin, end - begin);
    const size_t line_end = run.find_last_of("\r\n");
    if (line_end != std::string_view::npos) return begin + line_end + 1;
  }
  if (end == text.size()) return end;
  const bool numbers_apart = rules.family == Family::kGpt2 && rules.numbers_max > 0;
  if (numbers_apart && begins_with(text, end, CharClass::kNumber)) return end;
  // The last space belongs to what follows, unless it is all there is.
  size_t last = end - 1;
  while ((static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
  return last > begin ? last : end;
}

}  // namespace

std::span<const SplitPattern> split_patterns() { return kPatterns; }

const SplitPattern* find_split_pattern(std::string_view name) {
  const auto found = std::ranges::find_if(kPatterns, [&](const SplitPattern& pattern) {
    return !name.empty() && std::ranges::find(pattern.names, name) != pattern.names.end();
  });
  return found == kPatterns.end() ? nullptr : &*found;
}

std::string known_split_patterns() {
  std::string list;
  for (const SplitPattern& pattern : kPatterns) {
    for (const std::string_view name : pattern.names) {
      if (name.empty()) continue;
      if (!list.empty()) list += ", ";
      list += name;
    }
  }
  return list;
}

size_t word_end(std::string_view text, size_t begin, const SplitRules& rules) {
  const bool cl100k = rules.family == Family::kCl100k;
  const char byte = text[begin];
  if (byte == '\'') {
    if (const size_t length = contraction(text.substr(begin), cl100k); length > 0) {
      return begin + length;
    }
  }
  const Scanned first = scan(text, begin);
  if (first.kind == CharClass::kLetter) return run_end(text, first.end, CharClass::kLetter);
  if (first.kind == CharClass::kNumber) return number_end(text, begin, rules.numbers_max);

  const bool takes_word = cl100k ? !is_line_end(byte) : byte == ' ';
  if (takes_word && begins_with(text, first.end, CharClass::kLetter)) {
    return run_end(text, first.end, CharClass::kLetter);
  }
  if (first.kind == CharClass::kOther) return punctuation_end(text, begin, rules.family);
  if (byte == ' ' && begins_with(text, first.end, CharClass::kOther)) {
    return punctuation_end(text, first.end, rules.family);
  }
  if (byte == ' ' && rules.numbers_max == 0 && begins_with(text, first.end, CharClass::kNumber)) {
    return run_end(text, first.end, CharClass::kNumber);
  }
  return space_end(text, begin, rules);
}

}  // namespace millrace
