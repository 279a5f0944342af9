#include "text/normal/normalise.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <utf8proc.h>

#include "text/unicode/bert_classes.h"
#include "text/unicode/byte_alphabet.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

class MapCharacters final : public NormaliserStep {
 public:
  explicit MapCharacters(CharacterMap* map) : map_(map) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    std::string mapped;
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = decode_utf8(text.substr(i));
      const size_t next = i + c.length;
      mapped.clear();
      map_(c.code, mapped);
      if (mapped != text.substr(i, c.length)) {
        rewrite.keep(i);
        rewrite.put(next, mapped);
      }
      i = next;
    }
  }
  // A letter of two bytes becomes three, an ideograph of three five, a byte two.
  int64_t growth() const override { return 2; }

 private:
  CharacterMap* map_;
};

class ToForm final : public NormaliserStep {
 public:
  explicit ToForm(NormalForm form) : form_(form) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    std::string normal;
    size_t begin = 0;
    const auto end_run = [&](size_t end) {
      const std::string_view run = text.substr(begin, end - begin);
      normal.clear();
      append_normal(run, form_, normal);
      if (normal != run) {
        rewrite.keep(begin);
        rewrite.put(end, normal);
      }
      begin = end;
    };
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = decode_utf8(text.substr(i));
      if (begins_normal_run(c.code, form_)) {
        const bool ascii_only = i == begin + 1;
        if (ascii_only) begin = i;
        if (begin < i) end_run(i);
      }
      i += c.length;
    }
    if (begin < text.size()) end_run(text.size());
  }
  int64_t growth() const override { return 11; }  // U+FDFA: 33 bytes for 3

 private:
  NormalForm form_;
};

bool is_space(char32_t code) { return (char_class(code) & kSpaceChar) != 0; }

class Strip final : public NormaliserStep {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    size_t begin = text.size();
    size_t end = 0;
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = decode_utf8(text.substr(i));
      if (!is_space(c.code)) {
        begin = std::min(begin, i);
        end = i + c.length;
      }
      i += c.length;
    }
    const size_t from = left_ ? begin : 0;
    rewrite.drop(from);
    if (!right_) return;
    rewrite.keep(std::max(from, end));
    rewrite.drop(text.size());
  }
  int64_t growth() const override { return 1; }

 private:
  bool left_;
  bool right_;
};

class Prepend final : public NormaliserStep {
 public:
  explicit Prepend(std::string bytes) : bytes_(std::move(bytes)) {}

  void apply(Rewrite& rewrite) const override {
    if (!rewrite.text().empty()) rewrite.put(0, bytes_);
  }
  int64_t growth() const override { return 1 + std::ssize(bytes_); }

 private:
  std::string bytes_;
};

class Append final : public NormaliserStep {
 public:
  explicit Append(std::string bytes) : bytes_(std::move(bytes)) {}

  void apply(Rewrite& rewrite) const override {
    const size_t end = rewrite.text().size();
    if (end == 0) return;
    rewrite.keep(end);
    rewrite.put(end, bytes_);
  }
  int64_t growth() const override { return 1 + std::ssize(bytes_); }

 private:
  std::string bytes_;
};

class ReplaceText final : public NormaliserStep {
 public:
  ReplaceText(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    const size_t first_character = decode_utf8(pattern_).length;
    for (size_t at = text.find(pattern_); at != text.npos;) {
      const size_t end = at + pattern_.size();
      rewrite.keep(at);
      rewrite.put(end, content_);
      // The package lines what comes in up with the last character that goes.
      if (at == 0 && first_character < pattern_.size()) rewrite.leave_start();
      at = text.find(pattern_, end);
    }
  }
  int64_t growth() const override {
    return std::max<int64_t>(
        1, (std::ssize(content_) + std::ssize(pattern_) - 1) / std::ssize(pattern_));
  }

 private:
  std::string pattern_;
  std::string content_;
};

class ReplaceMatches final : public NormaliserStep {
 public:
  ReplaceMatches(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    Regex::Room room;
    for (size_t from = 0; from <= text.size();) {
      const std::optional<ByteRange> match = pattern_.find(text, from, room);
      if (!match) break;
      rewrite.keep(match->begin);
      rewrite.put(match->end, content_);
      const bool empty = match->begin == match->end;
      if (match->begin == 0 && !empty && decode_utf8(text).length < match->end) {
        rewrite.leave_start();
      }
      if (empty && match->end == text.size()) break;
      from = empty ? match->end + decode_utf8(text.substr(match->end)).length : match->end;
    }
  }
  // An expression may match before every byte.
  int64_t growth() const override { return 1 + std::ssize(content_); }

 private:
  Regex pattern_;
  std::string content_;
};

class MapLongest final : public NormaliserStep {
 public:
  explicit MapLongest(Charsmap map) : map_(std::move(map)) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    for (size_t i = 0; i < text.size();) {
      const Charsmap::Match match = map_.longest(text.substr(i));
      const size_t next = i + decode_utf8(text.substr(i)).length;
      // A match of half a character can only come from a map that was made to harm.
      const bool whole =
          match.bytes > 0 && (i + match.bytes == text.size() ||
                              (static_cast<uint8_t>(text[i + match.bytes]) & 0xC0) != 0x80);
      if (whole) {
        rewrite.keep(i);
        rewrite.put(i + match.bytes, match.replacement);
      }
      i = whole ? i + match.bytes : next;
    }
  }
  int64_t growth() const override { return 1 + static_cast<int64_t>(map_.replacement_bytes_max()); }

 private:
  Charsmap map_;
};

class MapGraphemes final : public NormaliserStep {
 public:
  explicit MapGraphemes(Charsmap map) : map_(std::move(map)) {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    size_t begin = 0;
    char32_t previous = 0;
    utf8proc_int32_t state = 0;
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = decode_utf8(text.substr(i));
      const bool breaks =
          i > 0 && utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous),
                                                    static_cast<utf8proc_int32_t>(c.code), &state);
      if (breaks) {
        map_grapheme(rewrite, begin, i);
        begin = i;
      }
      previous = c.code;
      i += c.length;
    }
    if (!text.empty()) map_grapheme(rewrite, begin, text.size());
  }
  int64_t growth() const override { return 1 + static_cast<int64_t>(map_.replacement_bytes_max()); }

 private:
  static constexpr size_t kWholeBelow = 6;  // bytes

  bool map_part(Rewrite& rewrite, size_t begin, size_t end) const {
    const Charsmap::Match match = map_.shortest(rewrite.text().substr(begin, end - begin));
    if (match.bytes == 0) return false;
    rewrite.keep(begin);
    rewrite.put(end, match.replacement);
    return true;
  }
  void map_grapheme(Rewrite& rewrite, size_t begin, size_t end) const {
    if (end - begin < kWholeBelow && map_part(rewrite, begin, end)) return;
    while (begin < end) {
      const size_t next = begin + decode_utf8(rewrite.text().substr(begin)).length;
      map_part(rewrite, begin, next);
      begin = next;
    }
  }

  Charsmap map_;
};

class SentencePieceSpaces final : public NormaliserStep {
 public:
  explicit SentencePieceSpaces(const SpaceRules& rules)
      : rules_(rules), space_(rules.escape ? "\xE2\x96\x81" : " ") {}

  void apply(Rewrite& rewrite) const override {
    const std::string_view text = rewrite.text();
    size_t end = text.size();
    size_t at = 0;
    if (rules_.remove_extra) {
      end = content_end(text);
      at = std::min(text.find_first_not_of(' '), text.size());
      rewrite.drop(at);
    }
    if (at < end && rules_.add_prefix && !rules_.as_suffix) rewrite.put(at, space_);
    while (at < end) {
      const size_t space = std::min(text.find(' ', at), end);
      rewrite.keep(space);
      if (space == end) break;
      const size_t run = rules_.remove_extra ? text.find_first_not_of(' ', space) : space + 1;
      rewrite.put(run, space_);
      at = run;
    }
    rewrite.drop(text.size());
    if (end > 0 && rules_.add_prefix && rules_.as_suffix) rewrite.put(text.size(), space_);
  }
  int64_t growth() const override { return 6; }

 private:
  // SentencePiece strips at the end what spaces have become, whatever it was before.
  size_t content_end(std::string_view text) const {
    for (size_t end = text.size();;) {
      const std::string_view rest = text.substr(0, end);
      if (rest.ends_with(' ')) {
        --end;
      } else if (rest.ends_with(space_)) {
        end -= space_.size();
      } else {
        return end;
      }
    }
  }

  SpaceRules rules_;
  std::string space_;
};

bool is_ideograph(char32_t code) {
  struct Block {
    char32_t first, last;
  };
  // As the `tokenizers` package has them: its fifth begins at U+2B920, not at U+2B820.
  constexpr Block kBlocks[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                               {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                               {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::ranges::any_of(
      kBlocks, [code](Block block) { return code >= block.first && code <= block.last; });
}

utf8proc_category_t category_of(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

}  // namespace

void lowercase(char32_t code, std::string& out) {
  const auto lower = utf8proc_tolower(static_cast<utf8proc_int32_t>(code));
  append_utf8(static_cast<char32_t>(lower), out);
  // The one character whose small letter is two (Unicode SpecialCasing): I with a dot.
  if (code == 0x130) append_utf8(0x307, out);
}

void strip_accents(char32_t code, std::string& out) {
  const utf8proc_category_t kind = category_of(code);
  const bool mark =
      kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_ME;
  if (!mark) append_utf8(code, out);
}

void strip_nonspacing(char32_t code, std::string& out) {
  if (!is_bert_nonspacing(code)) append_utf8(code, out);
}

void clean_text(char32_t code, std::string& out) {
  if (is_bert_control(code) || code == 0 || code == kReplacementChar) return;
  append_utf8(is_space(code) ? U' ' : code, out);
}

void space_ideographs(char32_t code, std::string& out) {
  if (!is_ideograph(code)) return append_utf8(code, out);
  out.push_back(' ');
  append_utf8(code, out);
  out.push_back(' ');
}

void nmt(char32_t code, std::string& out) {
  const bool gone = (code >= 0x1 && code <= 0x8) || code == 0xB || (code >= 0xE && code <= 0x1F) ||
                    code == 0x7F || code == 0x8F || code == 0x9F;
  if (gone) return;
  const bool space = code == 0x9 || code == 0xA || code == 0xC || code == 0xD || code == 0x1680 ||
                     (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 ||
                     code == 0x2581 || code == 0xFEFF || code == kReplacementChar;
  append_utf8(space ? U' ' : code, out);
}

void spell_bytes(char32_t code, std::string& out) {
  std::string bytes;
  append_utf8(code, bytes);
  out += spelled(bytes);
}

NormaliserStepPtr map_characters(CharacterMap* map) { return std::make_unique<MapCharacters>(map); }
NormaliserStepPtr to_form(NormalForm form) { return std::make_unique<ToForm>(form); }
NormaliserStepPtr strip(bool left, bool right) { return std::make_unique<Strip>(left, right); }
NormaliserStepPtr prepend(std::string bytes) { return std::make_unique<Prepend>(std::move(bytes)); }
NormaliserStepPtr append(std::string bytes) { return std::make_unique<Append>(std::move(bytes)); }
NormaliserStepPtr replace(std::string pattern, std::string content) {
  return std::make_unique<ReplaceText>(std::move(pattern), std::move(content));
}
NormaliserStepPtr replace(Regex pattern, std::string content) {
  return std::make_unique<ReplaceMatches>(std::move(pattern), std::move(content));
}
NormaliserStepPtr map_longest(Charsmap map) { return std::make_unique<MapLongest>(std::move(map)); }
NormaliserStepPtr map_graphemes(Charsmap map) {
  return std::make_unique<MapGraphemes>(std::move(map));
}
NormaliserStepPtr sentencepiece_spaces(const SpaceRules& rules) {
  return std::make_unique<SentencePieceSpaces>(rules);
}

int64_t Normaliser::growth() const {
  int64_t growth = 1;
  for (const NormaliserStepPtr& step : steps_) {
    const int64_t times = step->growth();
    if (growth > std::numeric_limits<int64_t>::max() / times) {
      return std::numeric_limits<int64_t>::max();
    }
    growth *= times;
  }
  return growth;
}

Normalised Normaliser::apply(Normalised text) const {
  for (const NormaliserStepPtr& step : steps_) {
    Rewrite rewrite(text);
    step->apply(rewrite);
    text = rewrite.finish();
  }
  return text;
}

std::string Normaliser::apply(std::string_view text) const {
  return apply(Normalised{{std::string(text), {}}}).marked.text;
}

}  // namespace millrace
