#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "text/split/pretokenize.h"

namespace millrace {

// How a byte-level vocabulary cuts text into words (merges happen within a word only), and what
// else its name tells.
struct SplitPattern {
  std::string_view names;  // of tokenizer.ggml.pre, with spaces between
  // The models' own expressions, where another could not be done; unused places are empty.
  std::array<SplitStep, 6> steps;
  bool ignore_merges = false;  // a word that is a token becomes it, whatever the merges say
  bool add_bos = false;        // where the file does not say
  // Not byte-level: merges are of characters, spaces are U+2581, a text is one word (SpmTokenizer).
  bool of_characters = false;

  std::span<const SplitStep> used_steps() const;
};

std::span<const SplitPattern> split_patterns();
const SplitPattern* find_split_pattern(std::string_view name);  // null: not known
std::string known_split_patterns();                             // "gpt-2, smollm, ..."

}  // namespace millrace
