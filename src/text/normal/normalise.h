#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/normal/charsmap.h"
#include "text/normal/normal_forms.h"
#include "text/normal/rewrite.h"
#include "text/split/regex.h"

namespace millrace {

// One change that a model makes to text before it is cut into words. Immutable.
class NormaliserStep {
 public:
  virtual ~NormaliserStep() = default;
  virtual void apply(Rewrite& rewrite) const = 0;
  // Bytes that one byte can become, at most.
  virtual int64_t growth() const = 0;
};
using NormaliserStepPtr = std::unique_ptr<const NormaliserStep>;

// What a character becomes: appended to `out`.
using CharacterMap = void(char32_t code, std::string& out);
CharacterMap lowercase;         // by itself: no context
CharacterMap strip_accents;     // no \p{M}
CharacterMap strip_nonspacing;  // BERT's: no nonspacing marks
CharacterMap clean_text;        // BERT's: no control characters, one kind of space
CharacterMap space_ideographs;  // BERT's: spaces around CJK ideographs
CharacterMap nmt;               // SentencePiece's nmt rules
CharacterMap spell_bytes;       // bytes in the alphabet of byte-level vocabularies

NormaliserStepPtr map_characters(CharacterMap* map);
NormaliserStepPtr to_form(NormalForm form);
NormaliserStepPtr strip(bool left, bool right);                       // White_Space
NormaliserStepPtr prepend(std::string bytes);                         // unless the text is empty
NormaliserStepPtr append(std::string bytes);                          // likewise
NormaliserStepPtr replace(std::string pattern, std::string content);  // `pattern` is not empty
NormaliserStepPtr replace(Regex pattern, std::string content);
// What SentencePiece does with its map: the longest match at each place.
NormaliserStepPtr map_longest(Charsmap map);
// What the `tokenizers` package does with it: a grapheme of less than six bytes, or else each
// character, becomes what its shortest beginning in the map does.
NormaliserStepPtr map_graphemes(Charsmap map);

struct SpaceRules {
  bool add_prefix = true;  // before a text, or after it
  bool as_suffix = false;
  bool remove_extra = true;  // at both ends; and one for many
  bool escape = true;        // as U+2581
};
NormaliserStepPtr sentencepiece_spaces(const SpaceRules& rules);

// The steps in order. Immutable once made.
class Normaliser {
 public:
  void add(NormaliserStepPtr step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }
  // Bytes that one byte can become; saturates.
  int64_t growth() const;
  Normalised apply(Normalised text) const;
  std::string apply(std::string_view text) const;

 private:
  std::vector<NormaliserStepPtr> steps_;
};

}  // namespace millrace
