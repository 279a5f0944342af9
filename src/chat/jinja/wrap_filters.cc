#include <algorithm>
#include <vector>

#include "chat/jinja/access.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_ops.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

// The white space between chunks, which Unicode's other spaces do not count as here.
bool is_gap(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Cuts a line as Python's textwrap does: into words and gaps, and words after hyphens and around
// dashes.
class Chunker {
 public:
  Chunker(std::string_view line, bool at_hyphens) : line_(line), at_hyphens_(at_hyphens) {}

  // Where the chunk that begins at `at` ends.
  size_t end_of(size_t at) const {
    size_t end = at;
    while (end < line_.size() && is_gap(line_[end])) ++end;
    if (end > at) return end;
    if (at_hyphens_ && at > 0 && is_punctuated(before(at)) && is_dash(at)) return after_dashes(at);
    for (end = after(at); end < line_.size() && !is_gap(line_[end]); end = after(end)) {
      if (!at_hyphens_) continue;
      if (line_[end] == '-' && hyphenates(end)) return end + 1;
      if (is_punctuated(before(end)) && is_dash(end)) return end;
    }
    return end;
  }

 private:
  size_t after(size_t at) const { return at + code_point_at(line_, at).size; }
  int32_t at(size_t place) const {
    return place < line_.size() ? code_point_at(line_, place).value : 0;
  }
  int32_t before(size_t place) const {
    return place == 0 ? 0 : code_point_at(line_, previous_boundary(line_, place)).value;
  }
  int32_t second_before(size_t place) const {
    return place == 0 ? 0 : before(previous_boundary(line_, place));
  }
  static bool is_word(int32_t c) { return c == '_' || is_letter(c) || is_numeric(c); }
  // A word's character that is no digit.
  static bool is_part(int32_t c) { return is_word(c) && !is_decimal(c); }
  static bool is_punctuated(int32_t c) {
    return is_word(c) ||
           (c > 0 && c < 0x80 &&
            std::string_view("!\"'&.,?").find(static_cast<char>(c)) != std::string_view::npos);
  }
  size_t after_dashes(size_t at) const {
    while (at < line_.size() && line_[at] == '-') ++at;
    return at;
  }
  // Two hyphens or more, with a word behind them.
  bool is_dash(size_t place) const {
    const size_t end = after_dashes(place);
    return end - place >= 2 && is_word(at(end));
  }
  // Letters on both sides of the hyphen, of which one may be a hyphen's neighbour.
  bool hyphenates(size_t hyphen) const {
    const int32_t last = before(hyphen);
    const int32_t second = second_before(hyphen);
    bool follows = is_part(last) && is_part(second);
    if (!follows && is_punctuated(last) && second == '-') {
      const size_t other = previous_boundary(line_, hyphen) - 1;
      follows = is_part(before(other));
    }
    if (!follows || !is_part(at(hyphen + 1))) return false;
    size_t next = after(hyphen + 1);
    if (next < line_.size() && line_[next] == '-') ++next;
    return is_part(at(next));
  }

  const std::string_view line_;
  const bool at_hyphens_;
};

struct WrapStyle {
  int64_t width = 79;
  bool breaks_words = true;
  bool breaks_at_hyphens = true;
};

// How much of a word that is longer than a line goes into what is left of one.
size_t head_of(std::string_view word, int64_t room, bool at_hyphens) {
  const size_t end = offset_of(word, room);
  if (!at_hyphens || end >= word.size()) return end;
  const size_t hyphen = word.substr(0, end).rfind('-');
  if (hyphen == std::string_view::npos || hyphen == 0) return end;
  return word.substr(0, hyphen).find_first_not_of('-') == std::string_view::npos ? end : hyphen + 1;
}

// textwrap.wrap with drop_whitespace; appends the lines.
absl::Status wrap(Workspace& work, const Text& text, const WrapStyle& style,
                  std::vector<Text>& lines) {
  const std::string_view view = text.view();
  const Chunker chunker(view, style.breaks_at_hyphens);
  RETURN_IF_ERROR(work.spend_bytes(view.size(), 1));
  const auto is_blank = [&](size_t from, size_t to) {
    for (; from < to; from += code_point_at(view, from).size) {
      if (!is_space(code_point_at(view, from).value)) return false;
    }
    return true;
  };
  size_t begin = 0;
  size_t chunk_end = view.empty() ? 0 : chunker.end_of(0);
  const auto next_chunk = [&](size_t at) {
    begin = at;
    if (at == chunk_end && at < view.size()) chunk_end = chunker.end_of(at);
  };
  while (begin < view.size()) {
    if (!lines.empty() && is_blank(begin, chunk_end)) next_chunk(chunk_end);
    const size_t line_begin = begin;
    size_t last_begin = begin;
    int64_t length = 0;
    const auto take = [&](size_t end) {
      length += count_code_points(view.substr(begin, end - begin));
      last_begin = begin;
      next_chunk(end);
    };
    const auto fits = [&](int64_t room) {
      const std::string_view chunk = view.substr(begin, chunk_end - begin);
      return offset_of(chunk, room) == chunk.size();
    };
    while (begin < view.size() && fits(style.width - length)) take(chunk_end);
    if (begin < view.size() && !fits(style.width)) {
      if (style.breaks_words) {
        const std::string_view word = view.substr(begin, chunk_end - begin);
        take(begin + head_of(word, style.width - length, style.breaks_at_hyphens));
      } else if (length == 0) {
        take(chunk_end);
      }
    }
    RETURN_IF_ERROR(work.spend(2));
    const size_t end = is_blank(last_begin, begin) ? last_begin : begin;
    if (end > line_begin) lines.push_back(slice(work, text, line_begin, end));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> word_wrap_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("wordwrap", given,
                                  {"width", "break_long_words", "wrapstring", "break_on_hyphens"}));
  WrapStyle style;
  ASSIGN_OR_RETURN(style.width, integer_argument(bound[0], 79, "the width of wordwrap"));
  style.breaks_words = flag_argument(bound[1], true);
  style.breaks_at_hyphens = flag_argument(bound[3], true);
  Text separator = make_view("\n");
  if (bound[2] != nullptr && !is_none(*bound[2])) {
    ASSIGN_OR_RETURN(separator, text_argument(bound[2], {}, "what wordwrap puts between lines"));
  }
  ASSIGN_OR_RETURN(const Text text, text_argument(&value, {}, "what wordwrap wraps"));
  ASSIGN_OR_RETURN(const std::vector<Value> paragraphs, split_lines(work, text, false));
  if (style.width <= 0 && !paragraphs.empty()) {
    return invalid_argument("the width of wordwrap must be positive");
  }
  std::vector<Text> wrapped;
  for (const Value& paragraph : paragraphs) {
    std::vector<Text> lines;
    RETURN_IF_ERROR(wrap(work, std::get<Text>(paragraph), style, lines));
    ASSIGN_OR_RETURN(const Value joined, join(work, separator, lines));
    wrapped.push_back(std::get<Text>(joined));
  }
  return join(work, separator, wrapped);
}

constexpr Filter kFilters[] = {{"wordwrap", word_wrap_filter}};

}  // namespace

std::span<const Filter> wrap_filters() { return kFilters; }

}  // namespace millrace::jinja
