#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/functional/function_ref.h>

#include "text/split/pretokenize.h"

namespace millrace {

// What BertPreTokenizer of the `tokenizers` package does: words at spaces, punctuation one by one.
std::span<const SplitStep> bert_words();

// Cuts normalised text into words where that needs more than expressions: what changes a piece
// before it is cut further. Immutable once made.
class WordCutter {
 public:
  enum class Change : uint8_t {
    kNone,
    kMarkSpaces,              // a space becomes `mark`
    kMarkSpacesAndStart,      // likewise, and a piece begins with `mark`
    kMarkSpacesAndTextStart,  // likewise, but only the piece that begins the text
    kStartWithSpace,
    kSpellBytes,  // in the alphabet of byte-level vocabularies
  };
  struct Stage {
    Change change = Change::kNone;
    std::string mark = {};
    Pretokenizer cut;
  };

  void add(Stage stage) { stages_.push_back(std::move(stage)); }

  // Calls `each(word)` for the words of `text`, in order; none is empty, and none outlives the
  // call. `from_start`: the text is the beginning of what is encoded.
  using Each = absl::FunctionRef<void(std::string_view)>;
  void cut(std::string_view text, bool from_start, Each each) const {
    cut_from(0, text, from_start, each);
  }

 private:
  void cut_from(size_t stage, std::string_view text, bool from_start, Each each) const;

  std::vector<Stage> stages_;
};

}  // namespace millrace
