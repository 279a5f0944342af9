#include "apps/line_editor/chat_terminal.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "apps/terminal/text_width.h"
#include "base/check.h"

namespace millrace {
namespace {

constexpr std::string_view kMarkPaste = "\x1b[?2004h";
constexpr std::string_view kPlainPaste = "\x1b[?2004l";

std::array<volatile std::sig_atomic_t, NSIG> arrived = {};

void on_signal(int signal) { arrived[static_cast<size_t>(signal)] = 1; }

bool take(int signal) {
  const bool was = arrived[static_cast<size_t>(signal)] != 0;
  arrived[static_cast<size_t>(signal)] = 0;
  return was;
}

void set_action(int signal, void (*handler)(int), struct sigaction* before = nullptr) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  CHECK(sigaction(signal, &action, before) == 0, "sigaction");
}

}  // namespace

ChatTerminal::ChatTerminal()
    : screen_(::isatty(STDERR_FILENO) != 0 ? STDERR_FILENO : STDOUT_FILENO),
      output_on_terminal_(::isatty(STDOUT_FILENO) != 0) {
  ::tcgetattr(STDIN_FILENO, &before_);
  sigset_t taken;
  sigemptyset(&taken);
  for (const int signal : kSignals) sigaddset(&taken, signal);
  CHECK(pthread_sigmask(SIG_BLOCK, &taken, &mask_before_) == 0, "pthread_sigmask");
  for (size_t i = 0; i < kSignals.size(); ++i) {
    take(kSignals[i]);
    set_action(kSignals[i], on_signal, &actions_before_[i]);
  }
  enter();
}

ChatTerminal::~ChatTerminal() {
  leave();
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &actions_before_[i], nullptr);
  }
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void ChatTerminal::enter() {
  termios keys = before_;
  keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  keys.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IXON);
  keys.c_cc[VMIN] = 1;
  keys.c_cc[VTIME] = 0;
  keys.c_cc[VQUIT] = _POSIX_VDISABLE;           // it would leave the terminal as it is here
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);  // what was typed ahead stays
  write(kMarkPaste);
}

void ChatTerminal::leave() {
  write(kPlainPaste);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

void ChatTerminal::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(screen_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // a closed terminal is noticed by reading
    text.remove_prefix(static_cast<size_t>(written));
  }
}

int ChatTerminal::columns() const { return terminal_columns(screen_); }

// Stops the whole job, as a terminal does for Ctrl-Z.
void ChatTerminal::suspend() {
  leave();
  set_action(SIGTSTP, SIG_DFL);
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTSTP);
  ::kill(0, SIGTSTP);
  pthread_sigmask(SIG_UNBLOCK, &stop, nullptr);  // here it stops, and here it goes on
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  set_action(SIGTSTP, on_signal);
  ::tcgetattr(STDIN_FILENO, &before_);
  arrived[SIGCONT] = 1;
}

// What comes after the terminal is gone goes nowhere.
void ChatTerminal::close() {
  if (closed_) return;
  closed_ = true;
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (output_on_terminal_) ::dup2(nowhere, STDOUT_FILENO);
  if (screen_ == STDERR_FILENO) ::dup2(nowhere, STDERR_FILENO);
  ::close(nowhere);
  std::clearerr(stdout);
}

void ChatTerminal::take_signals() {
  timespec none = {};
  ::ppoll(nullptr, 0, &none, &mask_before_);
  if (take(SIGTSTP)) suspend();
  if (arrived[SIGCONT] != 0) enter();
  if (arrived[SIGHUP] != 0) close();
}

bool ChatTerminal::ended() {
  take_signals();
  return closed_ || arrived[SIGTERM] != 0;
}

bool ChatTerminal::take_stop() {
  take_signals();
  take(SIGCONT);  // no line is drawn that would have to be drawn again
  return take(SIGINT) || ended();
}

ChatTerminal::Event ChatTerminal::wait(absl::Duration timeout, std::string& bytes) {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  const timespec limit = absl::ToTimespec(timeout);
  const timespec* until = timeout == absl::InfiniteDuration() ? nullptr : &limit;
  const int ready = ::ppoll(&input, 1, until, &mask_before_);
  if (ended()) return Event::kEnd;
  if (take(SIGCONT)) return Event::kResumed;
  if (take(SIGWINCH)) return Event::kResized;
  if (take(SIGINT)) return Event::kInterrupt;
  if (ready == 0) return Event::kTimeout;
  if (ready < 0) return wait(timeout, bytes);
  std::array<char, 4096> part;
  const ssize_t count = ::read(STDIN_FILENO, part.data(), part.size());
  if (count > 0) {
    bytes.assign(part.data(), static_cast<size_t>(count));
    return Event::kBytes;
  }
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return wait(timeout, bytes);
  close();
  return Event::kEnd;
}

}  // namespace millrace
