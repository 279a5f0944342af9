#include "apps/terminal/progress.h"

#include <algorithm>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace millrace {
namespace {

constexpr int kBarColumns = 30;
constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);

}  // namespace

Progress::Progress(std::string label)
    : label_(std::move(label)), on_terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::update(double fraction, std::string_view note) {
  const Instant now = RealClock().now();
  if (!on_terminal_ || now - last_ < kRedrawInterval) return;
  last_ = now;
  drawn_ = true;
  const double part = std::clamp(fraction, 0.0, 1.0);
  const int full = static_cast<int>(part * kBarColumns);
  fmt::print(stderr, "\r\x1b[K{} [{:=<{}}{: <{}}] {:3.0f} % {}", label_, "", full, "",
             kBarColumns - full, part * 100, note);
  std::fflush(stderr);
}

}  // namespace millrace
