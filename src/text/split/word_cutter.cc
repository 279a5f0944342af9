#include "text/split/word_cutter.h"

#include <array>

#include "text/unicode/bert_classes.h"
#include "text/unicode/byte_alphabet.h"

namespace millrace {
namespace {

using Change = WordCutter::Change;

std::string with_marks(std::string_view text, std::string_view mark, bool at_start) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  if (at_start && !text.starts_with(' ') && !text.starts_with(mark)) out += mark;
  for (const char byte : text) {
    if (byte == ' ') {
      out += mark;
    } else {
      out += byte;
    }
  }
  return out;
}

// What becomes of `text`, in `room` if it is not the same.
std::string_view changed(const WordCutter::Stage& stage, std::string_view text, bool from_start,
                         std::string& room) {
  switch (stage.change) {
    case Change::kNone:
      return text;
    case Change::kMarkSpaces:
      return room = with_marks(text, stage.mark, false);
    case Change::kMarkSpacesAndStart:
      return room = with_marks(text, stage.mark, true);
    case Change::kMarkSpacesAndTextStart:
      return room = with_marks(text, stage.mark, from_start);
    case Change::kStartWithSpace:
      if (text.starts_with(' ')) return text;
      return room.assign(" ").append(text);
    case Change::kSpellBytes:
      return room = spelled(text);
  }
  return text;
}

}  // namespace

std::span<const SplitStep> bert_words() {
  static const std::array kSteps = {
      SplitStep{.expression = R"(\s)", .behaviour = SplitBehaviour::kRemoved},
      SplitStep{.expression = kBertPunctuation},
  };
  return kSteps;
}

void WordCutter::cut_from(size_t stage, std::string_view text, bool from_start, Each each) const {
  if (stage == stages_.size()) {
    if (!text.empty()) each(text);
    return;
  }
  std::string room;
  const std::string_view whole = changed(stages_[stage], text, from_start, room);
  if (stage + 1 == stages_.size()) return stages_[stage].cut.split(whole, each);
  stages_[stage].cut.split(whole, [&](std::string_view piece) {
    cut_from(stage + 1, piece, from_start && piece.data() == whole.data(), each);
  });
}

}  // namespace millrace
