#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/status.h"
#include "text/split/regex.h"
#include "text/split/scanner.h"

namespace millrace {

// What becomes of the matches of an expression; the rest is pieces all the same. Names and meaning
// are those of the `tokenizers` package.
enum class SplitBehaviour : uint8_t {
  kIsolated,            // each is a piece
  kRemoved,             // they are left out
  kMergedWithPrevious,  // each joins the piece before it, unless that is a match too
  kMergedWithNext,      // each joins the piece after it, unless that is a match too
  kContiguous,          // neighbours are one piece
};

struct SplitStep {
  std::string_view expression;  // PCRE2's syntax
  SplitBehaviour behaviour = SplitBehaviour::kIsolated;
  bool invert = false;  // the matches are what lies between those of the expression
  // Rules that cut as the expression does, but faster, or in linear time where it would not.
  std::optional<SplitRules> scan = {};
};

// Cuts text into words: each step cuts the pieces that the one before it left. Immutable: safe from
// many threads.
class Pretokenizer {
 public:
  // No steps: a text is one word. INVALID_ARGUMENT where an expression cannot be read.
  static absl::StatusOr<Pretokenizer> create(std::span<const SplitStep> steps);

  // Calls `each(word)` for the words of `text`, in order; none is empty. `text` is UTF-8.
  using Each = absl::FunctionRef<void(std::string_view)>;
  void split(std::string_view text, Each each) const;

 private:
  struct Step {
    std::optional<SplitRules> scan;
    std::optional<Regex> regex;  // where there are no rules
    SplitBehaviour behaviour;
    bool invert;
  };

  Pretokenizer() = default;
  void split_from(size_t step, std::string_view text, Regex::Room& room, Each each) const;

  std::vector<Step> steps_;
};

}  // namespace millrace
