#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "chat/jinja/compare.h"
#include "chat/jinja/integers.h"
#include "chat/jinja/json.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

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
  if (is_integer(value)) return integer_text(work, value);
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
  } else if (is_none(key)) {
    out_.append("\"null\"");
  } else if (const bool* flag = std::get_if<bool>(&key)) {
    out_.append(*flag ? "\"true\"" : "\"false\"");
  } else if (is_number(key)) {
    ASSIGN_OR_RETURN(const std::string number, number_text(work_, key));
    out_.append(fmt::format("\"{}\"", number));
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
