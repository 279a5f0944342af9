#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

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

absl::StatusOr<Text> repr_of(Workspace& work, const Value& value) {
  TextBuilder out(work);
  RETURN_IF_ERROR(append_repr(out, work, value));
  ASSIGN_OR_RETURN(const Value made, out.finish());
  return std::get<Text>(made);
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
    out.append(fmt::format_int(integer_of(value)).str());
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
  } else if (const auto* it = std::get_if<Iterator*>(&value); it != nullptr && (*it)->is_view()) {
    out.append(fmt::format("{}(", type_name(value)));
    RETURN_IF_ERROR(append_items(out, work, (*it)->items, "[", "]"));
    out.append(")");
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
  const std::string name = is_integer(key) ? fmt::format("{}", integer_of(key))
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

namespace {

class JsonWriter {
 public:
  JsonWriter(Workspace& work, const JsonStyle& style) : work_(work), style_(style), out_(work) {}

  absl::Status write(const Value& value);
  absl::StatusOr<Value> finish() { return out_.finish(); }

 private:
  absl::Status write_list(const List& list);
  absl::Status write_dict(const Dict& dict);
  absl::Status write_key(const Value& key);
  // Of `count` lines, each indented `depth_` times.
  absl::Status spend_lines(size_t count);
  void write_text(const Text& text);
  void write_escaped(std::string_view bytes, bool is_written);
  void new_line();

  Workspace& work_;
  const JsonStyle& style_;
  TextBuilder out_;
  int32_t depth_ = 0;
};

absl::StatusOr<std::string> number_text(Workspace& work, const Value& value) {
  if (is_integer(value)) return fmt::format_int(integer_of(value)).str();
  RETURN_IF_ERROR(work.spend(kFloatSteps));
  const double number = std::get<double>(value);
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return float_repr(number);
}

void JsonWriter::new_line() {
  if (!style_.indent.has_value()) return;
  out_.append("\n");
  for (int32_t i = 0; i < depth_; ++i) out_.append(*style_.indent);
}

absl::Status JsonWriter::spend_lines(size_t count) {
  if (!style_.indent.has_value()) return absl::OkStatus();
  return work_.spend(static_cast<int64_t>(count + 1) * (1 + depth_ / 4));
}

void JsonWriter::write_escaped(std::string_view bytes, bool is_written) {
  size_t plain = 0;
  const auto put = [&](size_t at, std::string_view escaped, size_t size) {
    out_.append(bytes.substr(plain, at - plain), is_written);
    out_.append(escaped, is_written);
    plain = at + size;
  };
  for (size_t at = 0; at < bytes.size();) {
    const uint8_t c = static_cast<uint8_t>(bytes[at]);
    size_t size = 1;
    if (c == '"' || c == '\\') {
      put(at, c == '"' ? "\\\"" : "\\\\", 1);
    } else if (c < 0x20) {
      constexpr std::string_view kShort = "\b\f\n\r\t";
      constexpr std::string_view kEscapes = "\\b\\f\\n\\r\\t";
      const size_t known = kShort.find(static_cast<char>(c));
      if (known != std::string_view::npos) {
        put(at, kEscapes.substr(known * 2, 2), 1);
      } else {
        put(at, fmt::format("\\u{:04x}", c), 1);
      }
    } else if (c >= 0x7F && style_.is_ascii) {
      const CodePoint code_point = code_point_at(bytes, at);
      size = code_point.size;
      const int32_t above = code_point.value - 0x10000;
      put(at,
          above < 0
              ? fmt::format("\\u{:04x}", code_point.value)
              : fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (above >> 10), 0xDC00 + (above & 0x3FF)),
          size);
    }
    at += size;
  }
  out_.append(bytes.substr(plain), is_written);
}

void JsonWriter::write_text(const Text& text) {
  out_.append("\"");
  for_each_run(text,
               [&](std::string_view bytes, bool is_written) { write_escaped(bytes, is_written); });
  out_.append("\"");
}

absl::Status JsonWriter::write_list(const List& list) {
  if (list.items.empty()) {
    out_.append("[]");
    return absl::OkStatus();
  }
  out_.append("[");
  ++depth_;
  RETURN_IF_ERROR(spend_lines(list.items.size()));
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out_.append(style_.item_separator);
    new_line();
    RETURN_IF_ERROR(write(list.items[i]));
  }
  --depth_;
  new_line();
  out_.append("]");
  return absl::OkStatus();
}

absl::Status JsonWriter::write_key(const Value& key) {
  if (const Text* text = as_text(key)) {
    RETURN_IF_ERROR(work_.spend_bytes(text->size, 2));
    write_text(*text);
  } else if (is_none(key) || is_number(key)) {
    out_.append("\"");
    RETURN_IF_ERROR(write(key));
    out_.append("\"");
  } else {
    return invalid_argument("{} cannot be a key in JSON", type_name(key));
  }
  return absl::OkStatus();
}

absl::Status JsonWriter::write_dict(const Dict& dict) {
  if (dict.entries.empty()) {
    out_.append("{}");
    return absl::OkStatus();
  }
  std::vector<const Entry*> entries;
  for (const Entry& entry : dict.entries) entries.push_back(&entry);
  if (style_.is_sorted) {
    absl::Status status;
    std::stable_sort(entries.begin(), entries.end(), [&](const Entry* a, const Entry* b) {
      if (!status.ok()) return false;
      const absl::StatusOr<bool> order = less(work_, a->key, b->key);
      if (!order.ok()) status = order.status();
      return order.ok() && *order;
    });
    RETURN_IF_ERROR(status);
  }
  out_.append("{");
  ++depth_;
  RETURN_IF_ERROR(spend_lines(dict.entries.size()));
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) out_.append(style_.item_separator);
    new_line();
    RETURN_IF_ERROR(write_key(entries[i]->key));
    out_.append(style_.key_separator);
    RETURN_IF_ERROR(write(entries[i]->value));
  }
  --depth_;
  new_line();
  out_.append("}");
  return absl::OkStatus();
}

absl::Status JsonWriter::write(const Value& value) {
  RETURN_IF_ERROR(work_.spend());
  const Workspace::Level level(work_);
  RETURN_IF_ERROR(level.check());
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(work_.spend_bytes(text->size, 2));
    write_text(*text);
  } else if (is_none(value)) {
    out_.append("null");
  } else if (const bool* flag = std::get_if<bool>(&value)) {
    out_.append(*flag ? "true" : "false");
  } else if (is_number(value)) {
    ASSIGN_OR_RETURN(const std::string number, number_text(work_, value));
    out_.append(number);
  } else if (const auto* list = std::get_if<const List*>(&value)) {
    return write_list(**list);
  } else if (const auto* dict = std::get_if<const Dict*>(&value)) {
    return write_dict(**dict);
  } else {
    return invalid_argument("a {} cannot be written as JSON", type_name(value));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Value> to_json(Workspace& work, const Value& value, const JsonStyle& style) {
  JsonWriter writer(work, style);
  RETURN_IF_ERROR(writer.write(value));
  return writer.finish();
}

}  // namespace millrace::jinja
