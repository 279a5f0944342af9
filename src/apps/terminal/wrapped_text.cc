#include "apps/terminal/wrapped_text.h"

#include <utility>

#include "apps/terminal/one_line.h"
#include "apps/terminal/text_width.h"
#include "text/unicode/unicode.h"

namespace millrace {

void WrappedText::add_word(int columns, std::string& out) {
  const int spaces = static_cast<int>(spaces_.size());
  const bool fits = column_ + spaces + word_columns_ <= columns;
  if (fits || column_ == 0) {
    out += spaces_ + word_;
    column_ += spaces + word_columns_;
  } else {
    out += '\n' + word_;
    column_ = word_columns_;
  }
  if (column_ > columns) column_ = (column_ - 1) % columns + 1;  // the terminal broke the word
  spaces_.clear();
  word_.clear();
  word_columns_ = 0;
}

std::string WrappedText::push(std::string_view text, int columns) {
  std::string out;
  while (!text.empty()) {
    const Utf8Char next = decode_utf8(text);
    const std::string_view bytes = text.substr(0, next.length);
    text.remove_prefix(next.length);
    const bool is_space = next.code == ' ' || next.code == '\n' || next.code == '\t';
    const int width = columns_of(next.code);
    if ((is_space || width > 1) && !word_.empty()) add_word(columns, out);
    if (next.code == '\n') {
      out += std::exchange(spaces_, "") + '\n';
      column_ = 0;
    } else if (is_space) {
      spaces_ += next.code == ' ' ? " " : "    ";
    } else {
      const bool is_control = next.code < 0x20 || (next.code >= 0x7f && next.code < 0xa0);
      const std::string shown = is_control ? one_line(bytes) : std::string(bytes);
      word_ += shown;
      word_columns_ += is_control ? static_cast<int>(shown.size()) : width;
      if (width > 1) add_word(columns, out);
    }
  }
  return out;
}

std::string WrappedText::finish(int columns) {
  std::string out;
  if (!word_.empty()) add_word(columns, out);
  spaces_.clear();
  column_ = 0;
  return out;
}

}  // namespace millrace
