#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace {

enum class Key {
  kText,  // typed or pasted; pasted text may have lines
  kEnter,
  kEndOfInput,
  kLeft,
  kRight,
  kWordLeft,
  kWordRight,
  kHome,
  kEnd,
  kUp,
  kDown,
  kBackspace,
  kDelete,
  kDeleteWord,
  kDeleteToStart,
  kDeleteToEnd,
  kClearScreen,
};

struct KeyPress {
  Key key = Key::kText;
  std::string text;  // of kText, UTF-8

  bool operator==(const KeyPress&) const = default;
};

// What the bytes of a terminal mean: UTF-8, control characters, and the escape sequences of
// xterm, with its bracketed paste.
class KeyParser {
 public:
  // The keys that these bytes complete. The beginning of one, or of pasted text, waits for more.
  std::vector<KeyPress> push(std::string_view bytes);
  // Whether a sequence has begun that could also be the escape key alone.
  bool in_sequence() const { return !pasting_ && waiting_.starts_with('\x1b'); }
  // Drops what waits.
  void clear();

 private:
  size_t take(std::string_view bytes, std::vector<KeyPress>& keys);
  size_t take_sequence(std::string_view bytes, std::vector<KeyPress>& keys);

  std::string waiting_;
  bool pasting_ = false;
};

}  // namespace millrace
