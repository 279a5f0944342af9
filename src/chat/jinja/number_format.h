#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// How one value is laid out: [[fill]align][sign][z][#][0][width][grouping][.precision][type] of
// Python's format specifications, and what a place of a % pattern says.
struct FormatSpec {
  Text fill = make_view(" ");
  char align = '\0';  // < > ^ =; 0: as the type has it
  // + or space: before what is not negative. A '-' that is given changes nothing in numbers.
  static constexpr char kPlainSign = '-';
  char sign = '\0';
  bool is_alternate = false;  // '#'
  char grouping = '\0';       // , or _
  bool zero_pads = false;     // the align of numbers is '=' where none is given
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = '\0';
};

absl::StatusOr<FormatSpec> parse_format_spec(Workspace& work, const Text& spec_text);
// Reads digits at `at` and moves it behind them; 0 where there is none.
absl::StatusOr<int64_t> read_count(std::string_view text, size_t& at);

// What writing so many digits behind the point takes, before which those of the number come.
absl::Status spend_float_digits(Workspace& work, double number, int64_t digits);

// format(value, spec); fails where Python does.
absl::Status append_formatted(TextBuilder& out, Workspace& work, const Value& value,
                              const FormatSpec& spec);
// The character with that number.
absl::StatusOr<std::string> character_of(const Value& value);
// The number with its sign, prefix, digits, and zeros for `=`, filled up.
absl::Status append_number(TextBuilder& out, Workspace& work, const Value& value,
                           const FormatSpec& spec);
absl::Status append_padded(TextBuilder& out, Workspace& work, const Text& body,
                           const FormatSpec& spec, char default_align);

}  // namespace millrace::jinja
