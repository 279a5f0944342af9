#pragma once

#include <array>
#include <csignal>
#include <string>
#include <string_view>
#include <termios.h>

#include <absl/time/time.h>

namespace millrace {

// The terminal of a chat, one at a time. While it lives, standard input gives single keys without
// echo and marks pasted text (bracketed paste), and the calling thread, which must be the only one
// that takes signals, takes them only in the calls below. Ctrl-Z stops the process with the
// terminal as it was before.
class ChatTerminal {
 public:
  ChatTerminal();
  ~ChatTerminal();
  ChatTerminal(const ChatTerminal&) = delete;
  ChatTerminal& operator=(const ChatTerminal&) = delete;

  enum class Event {
    kBytes,
    kInterrupt,  // Ctrl-C
    kResized,
    kResumed,  // the cursor may be anywhere
    kTimeout,
    kEnd,  // the terminal is closed, or the process is told to end
  };
  // Waits for the next event; `bytes` are what was typed.
  Event wait(absl::Duration timeout, std::string& bytes);

  // Whether an answer is no longer wanted, after Ctrl-C or at the end. Stops the process where that
  // was asked for.
  bool take_stop();
  bool ended();

  void write(std::string_view text);
  int columns() const;

 private:
  void enter();
  void leave();
  void suspend();
  void take_signals();
  void close();

  static constexpr std::array kSignals = {SIGINT, SIGTSTP, SIGCONT, SIGWINCH, SIGHUP, SIGTERM};

  int screen_;  // where lines are drawn
  termios before_ = {};
  sigset_t mask_before_ = {};
  std::array<struct sigaction, kSignals.size()> actions_before_ = {};
  bool output_on_terminal_;
  bool closed_ = false;
};

}  // namespace millrace
