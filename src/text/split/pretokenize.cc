#include "text/split/pretokenize.h"

#include <utility>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

// Makes pieces of matches, and of what lies between them, as a behaviour wants it.
class Joiner {
 public:
  Joiner(std::string_view text, SplitBehaviour behaviour, bool invert, Pretokenizer::Each each)
      : text_(text), behaviour_(behaviour), invert_(invert), each_(each) {}

  void match(ByteRange range) {
    if (range.begin > at_) add({at_, range.begin}, invert_);
    add(range, !invert_);
    at_ = range.end;
  }

  void finish() {
    if (at_ < text_.size()) add({at_, text_.size()}, invert_);
    send();
  }

 private:
  void add(ByteRange range, bool is_match) {
    if (joins(is_match)) {
      waiting_->end = range.end;
    } else {
      send();
      waiting_ = range;
    }
    waiting_is_match_ = is_match;
  }

  bool joins(bool is_match) const {
    if (!waiting_) return false;
    switch (behaviour_) {
      case SplitBehaviour::kMergedWithPrevious:
        return is_match && !waiting_is_match_;
      case SplitBehaviour::kMergedWithNext:
        return !is_match && waiting_is_match_;
      case SplitBehaviour::kContiguous:
        return is_match == waiting_is_match_;
      case SplitBehaviour::kIsolated:
      case SplitBehaviour::kRemoved:
        return false;
    }
    return false;
  }

  void send() {
    if (!waiting_) return;
    const ByteRange piece = *std::exchange(waiting_, std::nullopt);
    if (behaviour_ == SplitBehaviour::kRemoved && waiting_is_match_) return;
    if (piece.end > piece.begin) each_(text_.substr(piece.begin, piece.end - piece.begin));
  }

  std::string_view text_;
  SplitBehaviour behaviour_;
  bool invert_;
  Pretokenizer::Each each_;
  size_t at_ = 0;  // how far matches have come
  std::optional<ByteRange> waiting_;
  bool waiting_is_match_ = false;
};

void find_all(const Regex& regex, std::string_view text, Regex::Room& room, Joiner& pieces) {
  size_t after_last = std::string_view::npos;
  for (size_t from = 0; from <= text.size();) {
    const auto match = regex.find(text, from, room);
    if (!match) break;
    // An empty match right after another is none.
    if (match->end > match->begin || match->begin != after_last) {
      pieces.match(*match);
      after_last = match->end;
    }
    from = match->end;
    if (match->end > match->begin) continue;
    from += from < text.size() ? decode_utf8(text.substr(from)).length : 1;
  }
}

}  // namespace

absl::StatusOr<Pretokenizer> Pretokenizer::create(std::span<const SplitStep> steps) {
  Pretokenizer made;
  for (const SplitStep& step : steps) {
    Step compiled{step.scan, std::nullopt, step.behaviour, step.invert};
    if (!step.scan) {
      ASSIGN_OR_RETURN(compiled.regex, Regex::compile(step.expression));
    }
    made.steps_.push_back(std::move(compiled));
  }
  return made;
}

void Pretokenizer::split(std::string_view text, Each each) const {
  const bool words_only = steps_.size() == 1 && steps_[0].scan && steps_[0].scan->finds_words() &&
                          steps_[0].behaviour == SplitBehaviour::kIsolated;
  if (!words_only) {
    Regex::Room room;
    return split_from(0, text, room, each);
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = word_end(text, begin, *steps_[0].scan);
    each(text.substr(begin, end - begin));
    begin = end;
  }
}

void Pretokenizer::split_from(size_t step, std::string_view text, Regex::Room& room,
                              Each each) const {
  if (step == steps_.size()) {
    if (!text.empty()) each(text);
    return;
  }
  const Step& cut = steps_[step];
  const auto next = [&](std::string_view piece) { split_from(step + 1, piece, room, each); };
  Joiner pieces(text, cut.behaviour, cut.invert, next);
  if (cut.scan) {
    scan_matches(text, *cut.scan, [&pieces](ByteRange match) { pieces.match(match); });
  } else {
    find_all(*cut.regex, text, room, pieces);
  }
  pieces.finish();
}

}  // namespace millrace
