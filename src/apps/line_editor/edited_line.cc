#include "apps/line_editor/edited_line.h"

#include <algorithm>
#include <utility>

#include "apps/terminal/text_width.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

constexpr std::string_view kZeroWidthJoiner = "\u200d";

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }
bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

}  // namespace

bool EditedLine::begins_character(size_t at) const {
  if (at == 0 || at >= text_.size()) return true;
  if (is_continuation(text_[at])) return false;
  if (std::string_view(text_).substr(0, at).ends_with(kZeroWidthJoiner)) return false;
  const char32_t code = decode_utf8(std::string_view(text_).substr(at)).code;
  return code < 0x20 || columns_of(code) > 0;
}

size_t EditedLine::left_of(size_t at) const {
  while (at > 0 && !begins_character(--at)) {
  }
  return at;
}

size_t EditedLine::right_of(size_t at) const {
  while (at < text_.size() && !begins_character(++at)) {
  }
  return at;
}

size_t EditedLine::word_left() const {
  size_t at = cursor_;
  while (at > 0 && is_space(text_[at - 1])) --at;
  while (at > 0 && !is_space(text_[at - 1])) --at;
  return at;
}

size_t EditedLine::word_right() const {
  size_t at = cursor_;
  while (at < text_.size() && is_space(text_[at])) ++at;
  while (at < text_.size() && !is_space(text_[at])) ++at;
  return at;
}

void EditedLine::set(std::string text) {
  text_ = std::move(text);
  cursor_ = text_.size();
}

void EditedLine::erase(size_t from, size_t to) {
  text_.erase(from, to - from);
  cursor_ = from;
}

void EditedLine::recall(size_t index) {
  if (index > sent_.size()) return;
  if (recalled_ == sent_.size()) draft_ = text_;
  recalled_ = index;
  set(index == sent_.size() ? draft_ : sent_[index]);
}

std::string EditedLine::send() {
  std::string text = std::exchange(text_, {});
  cursor_ = 0;
  if (!text.empty() && (sent_.empty() || sent_.back() != text)) sent_.push_back(text);
  recalled_ = sent_.size();
  draft_.clear();
  return text;
}

void EditedLine::apply(const KeyPress& press) {
  const size_t line_break = text_.rfind('\n', cursor_ == 0 ? std::string::npos : cursor_ - 1);
  const bool on_first = cursor_ == 0 || line_break == std::string::npos;
  const size_t line_begin = on_first ? 0 : line_break + 1;
  const size_t line_end = std::min(text_.find('\n', cursor_), text_.size());
  switch (press.key) {
    case Key::kText:
      text_.insert(cursor_, press.text);
      cursor_ += press.text.size();
      break;
    case Key::kLeft:
      cursor_ = left_of(cursor_);
      break;
    case Key::kRight:
      cursor_ = right_of(cursor_);
      break;
    case Key::kWordLeft:
      cursor_ = word_left();
      break;
    case Key::kWordRight:
      cursor_ = word_right();
      break;
    case Key::kHome:
      cursor_ = line_begin;
      break;
    case Key::kEnd:
      cursor_ = line_end;
      break;
    case Key::kUp:
      if (recalled_ > 0) recall(recalled_ - 1);
      break;
    case Key::kDown:
      recall(recalled_ + 1);
      break;
    case Key::kBackspace:
      return erase(left_of(cursor_), cursor_);
    case Key::kDelete:
      return erase(cursor_, right_of(cursor_));
    case Key::kDeleteWord:
      return erase(word_left(), cursor_);
    case Key::kDeleteToStart:
      return erase(line_begin, cursor_);
    case Key::kDeleteToEnd:
      return erase(cursor_, line_end);
    case Key::kEnter:
    case Key::kEndOfInput:
    case Key::kClearScreen:
      break;
  }
}

}  // namespace millrace
