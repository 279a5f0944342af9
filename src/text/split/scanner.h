#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <absl/functional/function_ref.h>

#include "text/marked_text.h"

namespace millrace {

// What tells one published split expression from another where they are alike; the scanner does
// by hand, in linear time, what these expressions say.
struct SplitRules {
  enum class Family : uint8_t {
    kGpt2,    // words take a space before them
    kCl100k,  // words take any one character before them, punctuation what the line ends with
    kO200k,   // as kCl100k; words also end where small letters meet capitals
    // Not a text's words, but its numbers in groups of three counted from their ends:
    kNumberGroups,   // of \p{N}
    kDecimalGroups,  // of \p{Nd}, where no word goes on after them
    kDecimalCuts,    // of \p{Nd}: the places between (empty matches), and before the first
  };
  Family family = Family::kGpt2;
  int32_t numbers_max = 0;  // characters of a number; 0: any, and it takes a space before it
  // Numbers are cut out first, so that what is before one ends as a text does.
  bool numbers_apart = false;
  bool contractions = true;             // 's 't 're 've 'm 'll 'd are words; kO200k: ends of words
  bool marks_are_letters = false;       // \p{M} too
  std::string_view line_ends = "\r\n";  // what punctuation takes after it (not kGpt2)

  bool finds_words() const { return family <= Family::kO200k; }
};

// Where the word that begins at `begin` ends, for rules that find words. `text` is UTF-8, `begin` <
// its size. Over a whole text the time is linear.
size_t word_end(std::string_view text, size_t begin, const SplitRules& rules);

// Calls `each(match)` for every match in `text`, in order; linear time.
void scan_matches(std::string_view text, const SplitRules& rules,
                  absl::FunctionRef<void(ByteRange)> each);

}  // namespace millrace
