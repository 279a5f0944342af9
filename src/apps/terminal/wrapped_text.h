#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Text that arrives in pieces, for a terminal: lines are broken between words, and control
// characters are spelled. The last word waits until it is known to be whole.
class WrappedText {
 public:
  // What may be shown now.
  std::string push(std::string_view text, int columns);
  // The word that waits. What is pushed next begins a line.
  std::string finish(int columns);

 private:
  void add_word(int columns, std::string& out);

  int column_ = 0;
  std::string spaces_;  // before the word
  std::string word_;
  int word_columns_ = 0;
};

}  // namespace millrace
