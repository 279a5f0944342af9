#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/line_editor/keys.h"

namespace millrace {

// The message that is being written, UTF-8, with a cursor between its characters (which combining
// marks are part of), and those that were sent before.
class EditedLine {
 public:
  const std::string& text() const { return text_; }
  size_t cursor() const { return cursor_; }  // bytes before it

  // Does what a key says; kEnter, kEndOfInput and kClearScreen are the caller's.
  void apply(const KeyPress& press);
  // Takes the text, remembers it for kUp, and begins an empty one.
  std::string send();
  void clear() { set({}); }

 private:
  size_t left_of(size_t at) const;
  size_t right_of(size_t at) const;
  size_t word_left() const;
  size_t word_right() const;
  bool begins_character(size_t at) const;
  void set(std::string text);
  void erase(size_t from, size_t to);
  void recall(size_t index);

  std::string text_;
  size_t cursor_ = 0;
  std::vector<std::string> sent_;
  size_t recalled_ = 0;  // index in sent_; its size: the new message
  std::string draft_;    // the new message while an earlier one is shown
};

}  // namespace millrace
