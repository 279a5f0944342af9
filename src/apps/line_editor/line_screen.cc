#include "apps/line_editor/line_screen.h"

#include <fmt/format.h>

#include "apps/terminal/text_width.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

constexpr std::string_view kTab = "    ";

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\r\n";
    } else if (c == '\t') {
      out += kTab;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

// Where the cursor is behind the prompt and `text`.
LineScreen::Cell LineScreen::cell_of(std::string_view text, int columns) const {
  Cell cell;
  const std::string whole = prompt_ + std::string(text);
  for (std::string_view rest = whole; !rest.empty();) {
    const Utf8Char next = decode_utf8(rest);
    rest.remove_prefix(next.length);
    if (next.code == '\n') {
      cell = {cell.row + 1, 0};
      continue;
    }
    const int times = next.code == '\t' ? static_cast<int>(kTab.size()) : 1;
    const int width = next.code == '\t' ? 1 : columns_of(next.code);
    for (int i = 0; i < times; ++i) {
      if (cell.column + width > columns) cell = {cell.row + 1, 0};
      cell.column += width;
    }
  }
  if (cell.column == columns) cell = {cell.row + 1, 0};
  return cell;
}

std::string LineScreen::draw(const EditedLine& line, int columns) {
  std::string out = "\r";
  if (cursor_row_ > 0) out += fmt::format("\x1b[{}A", cursor_row_);
  out += "\x1b[J" + prompt_ + shown(line.text());
  const Cell end = cell_of(line.text(), columns);
  // A terminal goes to the next row only with the character behind a full one.
  if (end.column == 0) out += " \r";
  const Cell cursor = cell_of(std::string_view(line.text()).substr(0, line.cursor()), columns);
  if (end.row > cursor.row) out += fmt::format("\x1b[{}A", end.row - cursor.row);
  out += '\r';
  if (cursor.column > 0) out += fmt::format("\x1b[{}C", cursor.column);
  cursor_row_ = cursor.row;
  return out;
}

std::string LineScreen::leave(const EditedLine& line, int columns) {
  const int rows = cell_of(line.text(), columns).row - cursor_row_;
  cursor_row_ = 0;
  return (rows > 0 ? fmt::format("\x1b[{}B", rows) : std::string()) + "\r\n";
}

void LineScreen::resized(const EditedLine& line, int columns) {
  cursor_row_ = cell_of(std::string_view(line.text()).substr(0, line.cursor()), columns).row;
}

}  // namespace millrace
