#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace millrace {

// A progress bar on standard error, drawn over itself at most ten times a second. Where standard
// error is no terminal it prints nothing at all.
class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `fraction` in [0, 1]; `note` stands behind the bar.
  void update(double fraction, std::string_view note = {});

 private:
  std::string label_;
  bool on_terminal_;
  bool drawn_ = false;
  Instant last_ = Instant::infinite_past();
};

}  // namespace millrace
