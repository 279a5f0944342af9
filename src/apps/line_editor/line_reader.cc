#include "apps/line_editor/line_reader.h"

#include <iostream>
#include <iterator>
#include <unistd.h>

#include "apps/line_editor/line_screen.h"

namespace millrace {
namespace {

// The bytes of one key come together; an escape that nothing follows was the key.
constexpr absl::Duration kSequencePause = absl::Milliseconds(50);

}  // namespace

LineReader::LineReader() {
  const bool on_terminal =
      ::isatty(STDIN_FILENO) != 0 && (::isatty(STDERR_FILENO) != 0 || ::isatty(STDOUT_FILENO) != 0);
  if (on_terminal) terminal_ = std::make_unique<ChatTerminal>();
}

std::optional<std::string> LineReader::read(const std::string& prompt) {
  if (terminal_) return read_edited(prompt);
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

std::optional<std::string> LineReader::read_edited(const std::string& prompt) {
  using Event = ChatTerminal::Event;
  LineScreen screen(prompt);
  while (true) {
    while (!typed_ahead_.empty()) {
      const KeyPress press = typed_ahead_.front();
      typed_ahead_.erase(typed_ahead_.begin());
      const bool ends_input = press.key == Key::kEndOfInput && line_.text().empty();
      if (press.key == Key::kEnter || ends_input) {
        terminal_->write(screen.draw(line_, terminal_->columns()));
        terminal_->write(screen.leave(line_, terminal_->columns()));
        if (ends_input) return std::nullopt;
        return line_.send();
      }
      if (press.key == Key::kClearScreen) {
        terminal_->write("\x1b[H\x1b[2J");
        screen.begin();
      }
      line_.apply(press.key == Key::kEndOfInput ? KeyPress{Key::kDelete, {}} : press);
    }
    terminal_->write(screen.draw(line_, terminal_->columns()));
    std::string bytes;
    switch (
        terminal_->wait(parser_.in_sequence() ? kSequencePause : absl::InfiniteDuration(), bytes)) {
      case Event::kBytes:
        typed_ahead_ = parser_.push(bytes);
        break;
      case Event::kInterrupt:
        terminal_->write(screen.leave(line_, terminal_->columns()));
        line_.clear();
        parser_.clear();
        return std::string();
      case Event::kResized:
        screen.resized(line_, terminal_->columns());
        break;
      case Event::kResumed:
        screen.begin();
        break;
      case Event::kTimeout:
        parser_.clear();
        break;
      case Event::kEnd:
        terminal_->write(screen.leave(line_, terminal_->columns()));
        return std::nullopt;
    }
  }
}

}  // namespace millrace
