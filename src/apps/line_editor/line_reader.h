#pragma once

#include <memory>
#include <optional>
#include <string>

#include "apps/line_editor/chat_terminal.h"
#include "apps/line_editor/edited_line.h"

namespace millrace {

// Messages from a person, who edits them on a terminal, or lines of a pipe.
class LineReader {
 public:
  LineReader();

  // The next message without its end; nothing at the end of input. On a terminal `prompt` is shown
  // first, and Ctrl-C gives an empty message.
  std::optional<std::string> read(const std::string& prompt);
  // Null where no person writes.
  ChatTerminal* terminal() { return terminal_.get(); }

 private:
  std::optional<std::string> read_edited(const std::string& prompt);

  std::unique_ptr<ChatTerminal> terminal_;
  EditedLine line_;
  KeyParser parser_;
  std::vector<KeyPress> typed_ahead_;
};

}  // namespace millrace
