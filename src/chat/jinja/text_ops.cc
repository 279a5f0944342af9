#include "chat/jinja/text_ops.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "chat/jinja/text_search.h"

namespace millrace::jinja {

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
  const std::string_view view = text.view();
  std::vector<Value> pieces;
  size_t end = view.size();
  const auto add = [&](size_t begin, size_t stop) -> absl::Status {
    pieces.emplace_back(slice(work, text, begin, stop));
    return work.expect_items(std::ssize(pieces));
  };
  if (separator != nullptr) {
    if (separator->size == 0) return invalid_argument("the separator of rsplit is empty");
    for (; splits > 0; --splits) {
      ASSIGN_OR_RETURN(const size_t found, find_last(work, view.substr(0, end), separator->view()));
      if (found == kNone) break;
      RETURN_IF_ERROR(add(found + separator->size, end));
      end = found;
    }
    RETURN_IF_ERROR(add(0, end));
  } else {
    RETURN_IF_ERROR(work.spend_bytes(text.size, 8));
    const auto is_space_before = [&](size_t at) {
      return is_space(code_point_at(view, previous_boundary(view, at)).value);
    };
    while (true) {
      while (end > 0 && is_space_before(end)) end = previous_boundary(view, end);
      if (end == 0) break;
      size_t begin = splits-- == 0 ? 0 : end;
      while (begin > 0 && !is_space_before(begin)) begin = previous_boundary(view, begin);
      RETURN_IF_ERROR(add(begin, end));
      end = begin;
    }
  }
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
  // str.center: of an odd rest, the left gets more where the width is odd too.
  const int64_t left = side == Side::kLeft    ? missing
                       : side == Side::kRight ? 0
                                              : missing / 2 + (missing & width & 1);
  TextBuilder out(work);
  out.append_repeated(fill, left);
  out.append(text);
  out.append_repeated(fill, missing - left);
  return out.finish();
}

}  // namespace millrace::jinja
