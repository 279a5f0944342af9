#include "chat/jinja/syntax/source.h"

#include <algorithm>

#include <absl/strings/cord.h>

#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

// Messages may quote what the context holds.
constexpr int64_t kMessageCharactersMax = 1000;
// Of a long line, so many characters are shown before and after the caret.
constexpr size_t kContextBytes = 72;

constexpr std::string_view kReasonUrl = "millrace/reason";

absl::Status with_reason(absl::Status located, std::string_view reason) {
  located.SetPayload(to_absl(kReasonUrl), absl::Cord(to_absl(reason)));
  return located;
}

std::string normalized(std::string_view text) {
  std::string lines;
  lines.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      if (i + 1 < text.size() && text[i + 1] == '\n') continue;
      lines += '\n';
    } else {
      lines += text[i];
    }
  }
  // jinja2 drops one line end at the end of a template (keep_trailing_newline is off).
  if (lines.ends_with('\n')) lines.pop_back();
  return lines;
}

}  // namespace

Source::Source(std::string_view text, std::string_view name)
    : text_(normalized(text)), name_(name) {}

absl::Status Source::locate(const absl::Status& status, size_t offset) const {
  const std::string_view text = text_;
  offset = std::min(offset, text.size());
  const std::string_view before = text.substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  const size_t line_end = std::min(text.find('\n', offset), text.size());
  const int64_t column = count_code_points(text.substr(line_begin, offset - line_begin)) + 1;

  size_t begin = line_begin;
  size_t end = line_end;
  if (offset - begin > kContextBytes) begin = offset - kContextBytes;
  if (end - offset > kContextBytes) end = offset + kContextBytes;
  const auto is_inside = [&](size_t at) {
    return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80;
  };
  while (begin < offset && is_inside(begin)) ++begin;
  while (end > offset && is_inside(end)) --end;
  const std::string_view head = begin > line_begin ? "..." : "";
  const std::string_view tail = end < line_end ? "..." : "";
  std::string shown(text.substr(begin, end - begin));
  std::replace(shown.begin(), shown.end(), '\t', ' ');
  const auto indent = static_cast<size_t>(count_code_points(text.substr(begin, offset - begin)));
  std::string_view message = message_of(status);
  message = message.substr(0, offset_of(message, kMessageCharactersMax));
  return with_reason(make_error(status.code(), "{}:{}:{}: {}\n  {}{}{}\n  {}^", name_, line, column,
                                message, head, shown, tail, std::string(head.size() + indent, ' ')),
                     message);
}

absl::Status Source::name_in(const absl::Status& status) const {
  const std::string_view message = message_of(status);
  return with_reason(make_error(status.code(), "{}: {}", name_, message), message);
}

std::string reason_of(const absl::Status& status) {
  const auto reason = status.GetPayload(to_absl(kReasonUrl));
  return reason ? std::string(*reason) : std::string(message_of(status));
}

}  // namespace millrace::jinja
