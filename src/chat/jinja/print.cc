#include "chat/jinja/print.h"

#include <array>
#include <charconv>
#include <cmath>

#include "chat/jinja/call.h"
#include "chat/jinja/integers.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

std::string escape_of(int32_t c) {
  if (c < 0x100) return fmt::format("\\x{:02x}", c);
  return c < 0x10000 ? fmt::format("\\u{:04x}", c) : fmt::format("\\U{:08x}", c);
}

void append_escaped(TextBuilder& out, std::string_view bytes, char quote, bool is_written) {
  size_t plain = 0;
  const auto flush = [&](size_t end) { out.append(bytes.substr(plain, end - plain), is_written); };
  for (size_t at = 0; at < bytes.size();) {
    const auto [c, size] = code_point_at(bytes, at);
    if ((c < 0x80 || is_printable(c)) && c != '\\' && c != quote && c >= 0x20 && c != 0x7F) {
      at += size;
      continue;
    }
    flush(at);
    at += size;
    plain = at;
    if (c == '\\' || c == quote) {
      out.append(fmt::format("\\{}", static_cast<char>(c)), is_written);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t", is_written);
    } else {
      out.append(escape_of(c), is_written);
    }
  }
  flush(bytes.size());
}

void append_text_repr(TextBuilder& out, const Text& text) {
  const bool has_single = text.view().find('\'') != std::string_view::npos;
  const bool has_double = text.view().find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  if (text.is_markup) out.append("Markup(");
  out.append(std::string_view(&quote, 1));
  for_each_run(text, [&](std::string_view bytes, bool is_written) {
    append_escaped(out, bytes, quote, is_written);
  });
  out.append(std::string_view(&quote, 1));
  if (text.is_markup) out.append(")");
}

absl::Status append_items(TextBuilder& out, Workspace& work, std::span<const Value> items,
                          std::string_view open, std::string_view close) {
  out.append(open);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ");
    RETURN_IF_ERROR(append_repr(out, work, items[i]));
  }
  out.append(close);
  return absl::OkStatus();
}

absl::Status append_list(TextBuilder& out, Workspace& work, const List& list) {
  if (!list.is_tuple) return append_items(out, work, list.items, "[", "]");
  return append_items(out, work, list.items, "(", list.items.size() == 1 ? ",)" : ")");
}

absl::Status append_dict(TextBuilder& out, Workspace& work, const Dict& dict) {
  out.append("{");
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out.append(", ");
    RETURN_IF_ERROR(append_repr(out, work, dict.entries[i].key));
    out.append(": ");
    RETURN_IF_ERROR(append_repr(out, work, dict.entries[i].value));
  }
  out.append("}");
  return absl::OkStatus();
}

absl::Status append_namespace(TextBuilder& out, Workspace& work, const Namespace& space) {
  out.append("<Namespace {");
  for (const Namespace::Attribute* at = space.first; at != nullptr; at = at->next) {
    if (at != space.first) out.append(", ");
    append_text_repr(out, at->name);
    out.append(": ");
    RETURN_IF_ERROR(append_repr(out, work, at->value));
  }
  out.append("}>");
  return absl::OkStatus();
}

absl::Status no_text(const Value& value) {
  return invalid_argument("a {} cannot be printed", type_name(value));
}

}  // namespace

std::string float_repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 32> buffer;
  const auto print = [&](std::chars_format format) {
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, format);
    return std::string(buffer.data(), end.ptr);
  };
  std::string scientific = print(std::chars_format::scientific);
  const size_t e = scientific.find('e');
  int exponent = 0;
  const char* digits = scientific.c_str() + e + 1;
  std::from_chars(digits + (*digits == '+'), scientific.c_str() + scientific.size(), exponent);
  // float_repr_style 'short': repr changes to exponents at these bounds.
  if (number != 0 && (exponent < -4 || exponent >= 16)) return scientific;
  std::string fixed = print(std::chars_format::fixed);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

absl::Status append_repr(TextBuilder& out, Workspace& work, const Value& value) {
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(work.spend_bytes(text->size, 2));
    append_text_repr(out, *text);
    return work.spend();
  }
  if (is_undefined(value)) {
    out.append("Undefined");
    return work.spend();
  }
  return append_text(out, work, value);
}

absl::StatusOr<Text> repr_of(Workspace& work, const Value& value, bool is_ascii_only) {
  TextBuilder out(work);
  RETURN_IF_ERROR(append_repr(out, work, value));
  ASSIGN_OR_RETURN(const Value made, out.finish());
  const Text& text = std::get<Text>(made);
  if (!is_ascii_only || is_ascii(text.view())) return text;
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  TextBuilder escaped(work);
  for_each_run(text, [&](std::string_view bytes, bool is_written) {
    for (size_t at = 0; at < bytes.size();) {
      const CodePoint c = code_point_at(bytes, at);
      escaped.append(c.value < 0x80 ? std::string(bytes.substr(at, c.size)) : escape_of(c.value),
                     is_written);
      at += c.size;
    }
  });
  ASSIGN_OR_RETURN(const Value result, escaped.finish());
  return std::get<Text>(result);
}

absl::Status append_text(TextBuilder& out, Workspace& work, const Value& value) {
  if (const Text* text = as_text(value)) {
    out.append(*text);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(work.spend());
  const Workspace::Level level(work);
  RETURN_IF_ERROR(level.check());
  if (is_undefined(value)) return absl::OkStatus();
  if (is_none(value)) {
    out.append("None");
  } else if (const bool* flag = std::get_if<bool>(&value)) {
    out.append(*flag ? "True" : "False");
  } else if (is_integer(value)) {
    ASSIGN_OR_RETURN(const std::string digits, integer_text(work, value));
    out.append(digits);
  } else if (const double* number = std::get_if<double>(&value)) {
    RETURN_IF_ERROR(work.spend(kFloatSteps));
    out.append(float_repr(*number));
  } else if (const auto* list = std::get_if<const List*>(&value)) {
    return append_list(out, work, **list);
  } else if (const auto* dict = std::get_if<const Dict*>(&value)) {
    return append_dict(out, work, **dict);
  } else if (const auto* range = std::get_if<const Range*>(&value)) {
    const auto& [start, stop, step] = **range;
    out.append(step == 1 ? fmt::format("range({}, {})", start, stop)
                         : fmt::format("range({}, {}, {})", start, stop, step));
  } else if (const auto* space = std::get_if<Namespace*>(&value)) {
    return append_namespace(out, work, **space);
  } else if (const auto* it = std::get_if<Iterator*>(&value); it != nullptr && (*it)->is_view()) {
    out.append(fmt::format("{}(", type_name(value)));
    RETURN_IF_ERROR(append_items(out, work, (*it)->items, "[", "]"));
    out.append(")");
  } else if (const auto* callable = std::get_if<const Callable*>(&value);
             callable != nullptr && (*callable)->macro != nullptr) {
    const std::string_view name = (*callable)->name;
    out.append(name.empty() ? "<Macro anonymous>" : fmt::format("<Macro '{}'>", name));
  } else {
    return no_text(value);
  }
  return absl::OkStatus();
}

absl::StatusOr<Text> to_text(Workspace& work, const Value& value) {
  if (const Text* text = as_text(value)) return *text;
  TextBuilder out(work);
  RETURN_IF_ERROR(append_text(out, work, value));
  ASSIGN_OR_RETURN(const Value text, out.finish());
  return std::get<Text>(text);
}

absl::Status undefined_error(const Value& value) {
  const Undefined& missing = std::get<Undefined>(value);
  const std::string_view name = missing.name_view();
  switch (missing.why) {
    case Undefined::Why::kName:
      return invalid_argument("'{}' is undefined", name);
    case Undefined::Why::kAttribute:
      return invalid_argument("'{}' has no attribute '{}'", missing.owner, name);
    case Undefined::Why::kElement:
      return invalid_argument("{} has no element {}", missing.owner, name);
    case Undefined::Why::kUnsafe:
      return invalid_argument("access to attribute '{}' of '{}' is unsafe", name, missing.owner);
    case Undefined::Why::kHint:
      break;
  }
  return invalid_argument("{}", name);
}

Undefined missing_attribute(const Value& owner, std::string_view name) {
  return {name.data(), owner_name(owner), static_cast<uint32_t>(name.size()),
          Undefined::Why::kAttribute};
}

Undefined missing_element(Workspace& work, const Value& owner, const Value& key) {
  if (const Text* text = as_text(key)) return missing_attribute(owner, text->view());
  const std::string name = fits_int64(key) ? fmt::format("{}", integer_of(key))
                                           : fmt::format("of type {}", type_name(key));
  const Text kept = work.copy(name);
  return {kept.data, owner_name(owner), kept.size, Undefined::Why::kElement};
}

Undefined undefined_because(std::string_view message) {
  return {message.data(), nullptr, static_cast<uint32_t>(message.size()), Undefined::Why::kHint};
}

absl::StatusOr<Text> escape(Workspace& work, const Text& text) {
  if (text.is_markup) return text;
  RETURN_IF_ERROR(work.spend_bytes(text.size, 8));
  TextBuilder out(work);
  for_each_run(text, [&](std::string_view bytes, bool is_written) {
    size_t plain = 0;
    for (size_t at = bytes.find_first_of("&<>'\""); at != std::string_view::npos;
         at = bytes.find_first_of("&<>'\"", plain)) {
      out.append(bytes.substr(plain, at - plain), is_written);
      const char c = bytes[at];
      out.append(c == '&'    ? "&amp;"
                 : c == '<'  ? "&lt;"
                 : c == '>'  ? "&gt;"
                 : c == '\'' ? "&#39;"
                             : "&#34;",
                 is_written);
      plain = at + 1;
    }
    out.append(bytes.substr(plain), is_written);
  });
  ASSIGN_OR_RETURN(const Value escaped, out.finish());
  Text markup = std::get<Text>(escaped);
  markup.is_markup = true;
  return markup;
}

}  // namespace millrace::jinja
