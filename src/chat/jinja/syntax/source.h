#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::jinja {

// What went wrong, without where in the template: nothing of its name or its text.
std::string reason_of(const absl::Status& status);

// A template's text with its line ends made `\n`, and where in it something is.
class Source {
 public:
  Source(std::string_view text, std::string_view name);

  std::string_view text() const { return text_; }
  std::string_view name() const { return name_; }

  // The status with where it happened put before its message, and the line with a caret after it;
  // reason_of() gives back what it said before.
  absl::Status locate(const absl::Status& status, size_t offset) const;
  // The same for what happened before a line was read.
  absl::Status name_in(const absl::Status& status) const;

 private:
  std::string text_;
  std::string name_;
};

}  // namespace millrace::jinja
