#include "chat/jinja/values/text.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>

#include <utf8proc.h>

#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

utf8proc_category_t category(int32_t code_point) { return utf8proc_category(code_point); }

}  // namespace

size_t find_bytes(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  if (needle.size() > text.size() - from) return std::string_view::npos;
  // glibc's memmem is linear; std::string_view::find is not.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

CodePoint code_point_at(std::string_view text, size_t at) {
  const uint8_t first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1};
  const Utf8Char found = decode_utf8(text.substr(at));
  if (!found.valid) return {first, 1};
  return {static_cast<int32_t>(found.code), found.length};
}

size_t previous_boundary(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && is_continuation(text[at])) --at;
  return at + code_point_at(text, at).size == end ? at : end - 1;
}

int64_t count_code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); });
}

size_t offset_of(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    ++at;
    while (at < text.size() && is_continuation(text[at])) ++at;
  }
  return at;
}

// str.isspace: bidirectional types WS, B and S, and the category Zs.
bool is_space(int32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  if (c == 0x85) return true;
  return category(c) == UTF8PROC_CATEGORY_ZS || c == 0x2028 || c == 0x2029;
}

bool is_letter(int32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(int32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_alphanumeric(int32_t c) {
  const utf8proc_category_t kind = category(c);
  return is_letter(c) || (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO);
}

bool is_upper(int32_t c) { return utf8proc_isupper(c) != 0; }
bool is_lower(int32_t c) { return utf8proc_islower(c) != 0; }

// str.isprintable: neither "Other" nor "Separator", but the space is.
bool is_printable(int32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t kind = category(c);
  return kind != UTF8PROC_CATEGORY_CN && kind < UTF8PROC_CATEGORY_ZS;
}
namespace {

bool is_cased(int32_t c) {
  return is_upper(c) || is_lower(c) || category(c) == UTF8PROC_CATEGORY_LT;
}

int32_t mapped(int32_t c, Case to, bool begins_word) {
  if (to == Case::kUpper) return utf8proc_toupper(c);
  if (to == Case::kLower || !begins_word) return utf8proc_tolower(c);
  return utf8proc_totitle(c);
}

}  // namespace

absl::StatusOr<Value> change_case(Workspace& work, const Text& text, Case to) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  TextBuilder out(work);
  bool begins_word = true;
  for_each_run(text, [&](std::string_view bytes, bool is_written) {
    std::string run;
    run.reserve(bytes.size());
    for (size_t at = 0; at < bytes.size();) {
      const CodePoint c = code_point_at(bytes, at);
      if (c.value >= 0x80 && c.size == 1) {
        run += bytes[at];
      } else {
        append_utf8(static_cast<char32_t>(mapped(c.value, to, begins_word)), run);
      }
      begins_word = to == Case::kTitle && !is_cased(c.value);
      at += c.size;
    }
    out.append(run, is_written);
  });
  ASSIGN_OR_RETURN(Value result, out.finish());
  std::get<Text>(result).is_markup = text.is_markup;
  return result;
}

absl::StatusOr<bool> has_case(Workspace& work, const Text& text, Case wanted) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  bool has_wanted = false;
  for (size_t at = 0; at < text.size; at += code_point_at(text.view(), at).size) {
    const int32_t c = code_point_at(text.view(), at).value;
    if (wanted == Case::kUpper ? is_lower(c) : is_upper(c)) return false;
    has_wanted = has_wanted || (wanted == Case::kUpper ? is_upper(c) : is_lower(c));
  }
  return has_wanted;
}

namespace {

constexpr size_t kNone = std::string_view::npos;

bool is_stripped(std::string_view view, size_t at, size_t size, const Text* chars) {
  if (chars == nullptr) return is_space(code_point_at(view, at).value);
  return chars->view().find(view.substr(at, size)) != kNone;
}

size_t skip_space(std::string_view view, size_t at) {
  while (at < view.size() && is_space(code_point_at(view, at).value)) {
    at += code_point_at(view, at).size;
  }
  return at;
}

size_t skip_word(std::string_view view, size_t at) {
  while (at < view.size() && !is_space(code_point_at(view, at).value)) {
    at += code_point_at(view, at).size;
  }
  return at;
}

bool is_line_end(int32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

absl::StatusOr<Text> strip(Workspace& work, const Text& text, const Text* chars, Side side) {
  const std::string_view view = text.view();
  size_t begin = 0;
  size_t end = view.size();
  const int64_t chars_cost = chars == nullptr ? 0 : 1 + chars->size / 32;
  if (side != Side::kRight) {
    while (begin < end) {
      const size_t size = code_point_at(view, begin).size;
      if (!is_stripped(view, begin, size, chars)) break;
      begin += size;
      if (chars_cost > 0) RETURN_IF_ERROR(work.spend(chars_cost));
    }
  }
  if (side != Side::kLeft) {
    while (end > begin) {
      const size_t at = previous_boundary(view, end);
      if (!is_stripped(view, at, end - at, chars)) break;
      end = at;
      if (chars_cost > 0) RETURN_IF_ERROR(work.spend(chars_cost));
    }
  }
  RETURN_IF_ERROR(work.spend_bytes(view.size() - (end - begin), 8));
  return slice(work, text, begin, end);
}

absl::StatusOr<Value> replace(Workspace& work, const Text& text, const Text& old_part,
                              const Text& new_part, int64_t count) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, kSearchedBytesPerStep));
  const std::string_view view = text.view();
  TextBuilder out(work);
  size_t at = 0;
  for (int64_t left = count; left != 0; --left) {
    const size_t found = find_bytes(view, old_part.view(), at);
    if (found == kNone) break;
    RETURN_IF_ERROR(work.spend());
    if (old_part.size == 0) {
      // Python puts the new part before each character and at the end.
      out.append(new_part);
      if (at >= view.size()) break;
      const size_t next = at + code_point_at(view, at).size;
      out.append(slice(work, text, at, next));
      at = next;
      continue;
    }
    out.append(slice(work, text, at, found));
    out.append(new_part);
    at = found + old_part.size;
  }
  if (at == 0 && out.size() == 0 && (count == 0 || find_bytes(view, old_part.view(), 0) == kNone)) {
    return Value(text);
  }
  out.append(slice(work, text, at, view.size()));
  ASSIGN_OR_RETURN(Value result, out.finish());
  std::get<Text>(result).is_markup = text.is_markup;
  return result;
}

absl::StatusOr<std::vector<Value>> split(Workspace& work, const Text& text, const Text* separator,
                                         int64_t splits) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, separator == nullptr ? 8 : kSearchedBytesPerStep));
  if (splits < 0) splits = std::numeric_limits<int64_t>::max();
  const std::string_view view = text.view();
  std::vector<Value> pieces;
  const auto add = [&](size_t begin, size_t end) -> absl::Status {
    pieces.emplace_back(slice(work, text, begin, end));
    RETURN_IF_ERROR(work.spend());
    return work.expect_items(std::ssize(pieces));
  };
  if (separator != nullptr) {
    if (separator->size == 0) return invalid_argument("the separator of split is empty");
    size_t at = 0;
    for (; splits > 0; --splits) {
      const size_t found = find_bytes(view, separator->view(), at);
      if (found == kNone) break;
      RETURN_IF_ERROR(add(at, found));
      at = found + separator->size;
    }
    RETURN_IF_ERROR(add(at, view.size()));
    return pieces;
  }
  for (size_t at = skip_space(view, 0); at < view.size(); at = skip_space(view, at)) {
    if (splits-- == 0) {
      RETURN_IF_ERROR(add(at, view.size()));
      break;
    }
    const size_t end = skip_word(view, at);
    RETURN_IF_ERROR(add(at, end));
    at = end;
  }
  return pieces;
}

absl::StatusOr<std::vector<Value>> split_from_right(Workspace& work, const Text& text,
                                                    const Text* separator, int64_t splits) {
  if (splits < 0) return split(work, text, separator, splits);
  if (separator == nullptr) {
    return unimplemented("rsplit at white space with a maximum is not supported");
  }
  if (separator->size == 0) return invalid_argument("the separator of rsplit is empty");
  std::vector<Value> pieces;
  size_t end = text.size;
  for (; splits > 0; --splits) {
    ASSIGN_OR_RETURN(const size_t found,
                     find_last(work, text.view().substr(0, end), separator->view()));
    if (found == kNone) break;
    pieces.emplace_back(slice(work, text, found + separator->size, end));
    RETURN_IF_ERROR(work.expect_items(std::ssize(pieces)));
    end = found;
  }
  pieces.emplace_back(slice(work, text, 0, end));
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

absl::StatusOr<std::vector<Value>> split_lines(Workspace& work, const Text& text, bool keep_ends) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 8));
  const std::string_view view = text.view();
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t at = 0; at < view.size();) {
    const CodePoint c = code_point_at(view, at);
    if (!is_line_end(c.value)) {
      at += c.size;
      continue;
    }
    size_t next = at + c.size;
    if (c.value == '\r' && next < view.size() && view[next] == '\n') ++next;
    lines.emplace_back(slice(work, text, begin, keep_ends ? next : at));
    RETURN_IF_ERROR(work.expect_items(std::ssize(lines)));
    begin = at = next;
  }
  if (begin < view.size()) lines.emplace_back(slice(work, text, begin, view.size()));
  return lines;
}

absl::StatusOr<size_t> find_first(Workspace& work, std::string_view text, std::string_view part) {
  const size_t found = find_bytes(text, part, 0);
  RETURN_IF_ERROR(
      work.spend_bytes(std::min(found, text.size()) + part.size(), kSearchedBytesPerStep));
  return found;
}

absl::StatusOr<size_t> find_last(Workspace& work, std::string_view text, std::string_view part) {
  if (part.size() > text.size()) return kNone;
  if (part.empty()) return text.size();
  int64_t work_bytes = 0;
  for (size_t at = text.size() - part.size() + 1; at-- > 0;) {
    ++work_bytes;
    if (text[at] == part[0]) {
      work_bytes += std::ssize(part);
      if (std::memcmp(text.data() + at, part.data(), part.size()) == 0) {
        RETURN_IF_ERROR(work.spend(work_bytes / 64));
        return at;
      }
    }
    constexpr int64_t kJudgeEvery = 1 << 16;
    if (work_bytes >= kJudgeEvery) {
      RETURN_IF_ERROR(work.spend(work_bytes / 64));
      work_bytes = 0;
    }
  }
  RETURN_IF_ERROR(work.spend(work_bytes / 64));
  return kNone;
}

absl::StatusOr<Value> join(Workspace& work, const Text& separator, std::span<const Text> parts) {
  RETURN_IF_ERROR(work.spend(std::ssize(parts) / 2));
  TextBuilder out(work);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(separator);
    out.append(parts[i]);
  }
  return out.finish();
}

absl::StatusOr<Value> pad(Workspace& work, const Text& text, int64_t width, const Text& fill,
                          Side side) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 128));
  const int64_t missing = width - count_code_points(text.view());
  if (missing <= 0) return Value(text);
  RETURN_IF_ERROR(work.expect_text(missing));
  RETURN_IF_ERROR(work.spend(missing / 16));
  TextBuilder out(work);
  if (side == Side::kLeft) out.append_repeated(fill, missing);
  out.append(text);
  if (side == Side::kRight) out.append_repeated(fill, missing);
  return out.finish();
}

}  // namespace millrace::jinja
