#include "apps/terminal/line_reader.h"

#include <cstdlib>
#include <editline/readline.h>
#include <iostream>
#include <unistd.h>

#include <fmt/format.h>

#include "apps/terminal/interrupt.h"

namespace millrace {

LineReader::LineReader() : on_terminal_(::isatty(STDIN_FILENO) != 0) {
  if (!on_terminal_) return;
  rl_initialize();
  using_history();
}

std::optional<std::string> LineReader::read(const std::string& prompt) {
  if (!on_terminal_) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  InterruptGuard interrupt;
  char* typed = ::readline(prompt.c_str());
  if (typed == nullptr) {
    fmt::print("\n");
    if (interrupt.take()) return std::string();
    return std::nullopt;
  }
  std::string line(typed);
  std::free(typed);
  if (!line.empty()) add_history(line.c_str());
  return line;
}

}  // namespace millrace
