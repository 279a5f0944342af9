#pragma once

#include <optional>
#include <string>

namespace millrace {

// Lines from a person (editing and history) or, where standard input is no terminal, from a pipe.
class LineReader {
 public:
  LineReader();

  // The next line without its end; nothing at the end of input. On a terminal `prompt` is shown
  // first; Ctrl-C gives an empty line.
  std::optional<std::string> read(const std::string& prompt);
  bool on_terminal() const { return on_terminal_; }

 private:
  bool on_terminal_;
};

}  // namespace millrace
