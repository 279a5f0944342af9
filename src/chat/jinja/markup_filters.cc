#include <algorithm>
#include <charconv>
#include <string>

#include "chat/jinja/access.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_ops.h"
#include "chat/jinja/text_search.h"
#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

// urllib.parse.quote; a space of a query becomes a plus.
absl::Status append_quoted(TextBuilder& out, Workspace& work, const Value& value, bool is_query) {
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  RETURN_IF_ERROR(work.spend_bytes(text.size, 1));
  const std::string_view kept = is_query ? "_.-~" : "_.-~/";
  for_each_run(text, [&](std::string_view bytes, bool is_written) {
    for (const char c : bytes) {
      const bool is_kept = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || kept.find(c) != std::string_view::npos;
      if (is_kept) {
        out.append(std::string_view(&c, 1), is_written);
      } else if (c == ' ' && is_query) {
        out.append("+", is_written);
      } else {
        out.append(fmt::format("%{:02X}", static_cast<uint8_t>(c)), is_written);
      }
    }
  });
  return out.check();
}

absl::StatusOr<Value> url_encode_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("urlencode", given));
  TextBuilder out(work);
  if (as_text(value) != nullptr || !is_iterable(value)) {
    RETURN_IF_ERROR(append_quoted(out, work, value, false));
    return out.finish();
  }
  const auto append_pair = [&](const Value& name, const Value& content) -> absl::Status {
    RETURN_IF_ERROR(work.spend());
    if (out.size() > 0) out.append("&");
    RETURN_IF_ERROR(append_quoted(out, work, name, true));
    out.append("=");
    return append_quoted(out, work, content, true);
  };
  if (const auto* dict = std::get_if<const Dict*>(&value)) {
    for (const Entry& entry : (*dict)->entries) {
      RETURN_IF_ERROR(append_pair(entry.key, entry.value));
    }
    return out.finish();
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const std::span<const Value> pair, items_of(work, item));
    if (pair.size() != 2) return invalid_argument("urlencode needs pairs");
    RETURN_IF_ERROR(append_pair(pair[0], pair[1]));
  }
  return out.finish();
}

absl::StatusOr<Value> xml_attributes_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("xmlattr", given, {"autospace"}));
  if (is_undefined(value)) return undefined_error(value);
  const auto* dict = std::get_if<const Dict*>(&value);
  if (dict == nullptr) return invalid_argument("xmlattr needs a dict, got {}", type_name(value));
  TextBuilder out(work);
  for (const Entry& entry : (*dict)->entries) {
    RETURN_IF_ERROR(work.spend(8));
    if (is_none(entry.value) || is_undefined(entry.value)) continue;
    ASSIGN_OR_RETURN(const Text name, text_argument(&entry.key, {}, "an attribute's name"));
    if (name.view().find_first_of(std::string_view("\t\n\v\f\r />=")) != std::string_view::npos) {
      return invalid_argument("an attribute's name cannot hold white space, '/', '>' or '='");
    }
    ASSIGN_OR_RETURN(const Text escaped_name, escape(work, name));
    ASSIGN_OR_RETURN(const Text content, to_text(work, entry.value));
    ASSIGN_OR_RETURN(const Text escaped, escape(work, content));
    if (out.size() > 0 || flag_argument(bound[0], true)) out.append(" ");
    out.append(escaped_name);
    out.append("=\"");
    out.append(escaped);
    out.append("\"");
  }
  return out.finish();
}

// The text without what lies in tags and comments.
Text without_tags(Workspace& work, const Text& text, TextBuilder& out) {
  const std::string_view view = text.view();
  size_t at = 0;
  for (size_t open = view.find('<'); open != std::string_view::npos; open = view.find('<', at)) {
    const bool is_comment = view.substr(open).starts_with("<!--");
    const size_t close = is_comment ? find_bytes(view, "-->", open + 4) : view.find('>', open);
    if (close == std::string_view::npos) break;
    out.append(slice(work, text, at, open));
    at = close + (is_comment ? 3 : 1);
  }
  return slice(work, text, at, text.size);
}

// The character that an entity `&...;` names; HTML has two thousand, and these are the ones that
// escaping makes.
absl::StatusOr<std::string> character_of_entity(std::string_view entity) {
  struct Named {
    std::string_view name, character;
  };
  constexpr Named kNamed[] = {{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}};
  for (const Named& each : kNamed) {
    if (each.name == entity) return std::string(each.character);
  }
  const bool is_hex = entity.starts_with("#x") || entity.starts_with("#X");
  const std::string_view digits = entity.substr(std::min<size_t>(is_hex ? 2 : 1, entity.size()));
  uint32_t code = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, code, is_hex ? 16 : 10);
  const bool is_plain = code >= 0x20 && code < 0x7F;
  if (!entity.starts_with('#') || result.ptr != end || result.ec != std::errc() || !is_plain) {
    return unimplemented("striptags knows no entity '&{};'", entity.substr(0, 32));
  }
  return std::string(1, static_cast<char>(code));
}

absl::StatusOr<Value> unescape(Workspace& work, const Text& text) {
  const std::string_view view = text.view();
  TextBuilder out(work);
  size_t plain = 0;
  for (size_t at = view.find('&'); at != std::string_view::npos; at = view.find('&', at + 1)) {
    RETURN_IF_ERROR(work.spend());
    const char next = at + 1 < view.size() ? view[at + 1] : ' ';
    if (next != '#' && !(next >= 'a' && next <= 'z') && !(next >= 'A' && next <= 'Z')) continue;
    constexpr size_t kEntityMax = 12;
    const size_t length = std::min(view.substr(at + 1, kEntityMax).find(';'), kEntityMax);
    ASSIGN_OR_RETURN(const std::string character, character_of_entity(view.substr(at + 1, length)));
    out.append(slice(work, text, plain, at));
    out.append(character, slice(work, text, at, at + length + 1).is_written());
    at += length + 1;
    plain = at + 1;
  }
  out.append(slice(work, text, plain, text.size));
  return out.finish();
}

absl::StatusOr<Value> strip_tags_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("striptags", given));
  ASSIGN_OR_RETURN(Text text, to_text(work, value));
  text.is_markup = false;
  RETURN_IF_ERROR(work.spend(4 + int64_t{text.size} / 8));
  TextBuilder out(work);
  out.append(without_tags(work, text, out));
  ASSIGN_OR_RETURN(const Value stripped, out.finish());
  ASSIGN_OR_RETURN(const std::vector<Value> words,
                   split(work, std::get<Text>(stripped), nullptr, -1));
  std::vector<Text> parts;
  for (const Value& word : words) parts.push_back(std::get<Text>(word));
  ASSIGN_OR_RETURN(const Value joined, join(work, make_view(" "), parts));
  return unescape(work, std::get<Text>(joined));
}

constexpr Filter kFilters[] = {
    {"striptags", strip_tags_filter},
    {"urlencode", url_encode_filter},
    {"xmlattr", xml_attributes_filter},
};

}  // namespace

std::span<const Filter> markup_filters() { return kFilters; }

}  // namespace millrace::jinja
