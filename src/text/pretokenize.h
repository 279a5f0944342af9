#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace {

// What tells one split pattern from another; the scanner knows these two families.
struct SplitRules {
  enum class Family : uint8_t {
    kGpt2,    // words take a space before them
    kCl100k,  // words take any one character before them, punctuation the line ends after it
  };
  Family family = Family::kGpt2;
  int32_t numbers_max = 0;  // characters of a number; 0: any, and it takes a space before it
};

// How a byte-level vocabulary cuts text into words: merges happen within a word only.
struct SplitPattern {
  std::array<std::string_view, 3> names;  // of tokenizer.ggml.pre; the first is the usual one
  // The models' own expression, which the scanner equals (held by test against PCRE2). \s is
  // White_Space; smollm's is its two (numbers one by one, then gpt-2's) made one.
  std::string_view expression;
  SplitRules rules;
  bool ignore_merges = false;  // a word that is a token becomes it, whatever the merges say
  bool add_bos = false;        // where the file does not say
};

std::span<const SplitPattern> split_patterns();
const SplitPattern* find_split_pattern(std::string_view name);  // null: not known
std::string known_split_patterns();                             // "gpt-2, smollm, ..."

// Where the word that begins at `begin` ends. `text` is UTF-8, `begin` < its size. Over a whole
// text the time is linear.
size_t word_end(std::string_view text, size_t begin, const SplitRules& rules);

}  // namespace millrace
