#pragma once

#include <string>
#include <string_view>

#include "apps/line_editor/edited_line.h"

namespace millrace {

// Draws a line that is being edited, over as many rows of the terminal as it needs.
class LineScreen {
 public:
  explicit LineScreen(std::string prompt) : prompt_(std::move(prompt)) {}

  // What to write so that the line stands where it was drawn before.
  std::string draw(const EditedLine& line, int columns);
  // The cursor is at the beginning of an empty row: nothing is drawn yet.
  void begin() { cursor_row_ = 0; }
  // To a row below the line.
  std::string leave(const EditedLine& line, int columns);
  // The terminal has another width now and has wrapped its rows anew.
  void resized(const EditedLine& line, int columns);

 private:
  struct Cell {
    int row = 0;
    int column = 0;
  };
  Cell cell_of(std::string_view text, int columns) const;

  std::string prompt_;
  int cursor_row_ = 0;  // below the first
};

}  // namespace millrace
