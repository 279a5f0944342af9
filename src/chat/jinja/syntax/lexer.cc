#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "chat/jinja/syntax/parser.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"
#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

constexpr std::string_view kOperators[] = {
    "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";",
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size()) {
    const auto [c, size] = code_point_at(text, at);
    if (!is_space(c)) break;
    at += size;
  }
  return at;
}

size_t strip_spaces_before(std::string_view text, size_t end) {
  while (end > 0) {
    const size_t at = previous_boundary(text, end);
    if (!is_space(code_point_at(text, at).value)) break;
    end = at;
  }
  return end;
}

// Digits with single underscores between them.
size_t skip_digits(std::string_view text, size_t at) {
  while (at < text.size() && (is_digit(text[at]) || (text[at] == '_' && at + 1 < text.size() &&
                                                     is_digit(text[at + 1])))) {
    ++at;
  }
  return at;
}

struct SimpleEscape {
  char letter;
  std::string_view meaning;
};
constexpr SimpleEscape kSimpleEscapes[] = {
    {'\n', ""},  {'\\', "\\"}, {'\'', "'"}, {'"', "\""}, {'a', "\a"}, {'b', "\b"},
    {'f', "\f"}, {'n', "\n"},  {'r', "\r"}, {'t', "\t"}, {'v', "\v"},
};

// Reads the digits of \x, \u or \U at `at` and moves it behind them.
absl::Status append_hex(std::string_view literal, size_t& at, size_t digits, std::string& text) {
  const std::string_view hex = literal.substr(at, digits);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  if (hex.size() < digits || end != hex.data() + digits || error != std::errc()) {
    return invalid_argument("an escape of {} hexadecimal digits is cut short", digits);
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return invalid_argument("U+{:04X} is no character", value);
  }
  append_utf8(value, text);
  at += digits;
  return absl::OkStatus();
}

absl::Status append_escape(std::string_view literal, size_t& at, std::string& text) {
  const char letter = literal[at++];
  for (const SimpleEscape& escape : kSimpleEscapes) {
    if (escape.letter == letter) {
      text += escape.meaning;
      return absl::OkStatus();
    }
  }
  if (letter >= '0' && letter <= '7') {
    return unimplemented("octal escapes are not supported; write \\x");
  }
  if (letter == 'x') return append_hex(literal, at, 2, text);
  if (letter == 'u') return append_hex(literal, at, 4, text);
  if (letter == 'U') return append_hex(literal, at, 8, text);
  if (letter == 'N')
    return unimplemented("escapes by character name (\\N{{...}}) are not supported");
  text += '\\';
  text += letter;
  return absl::OkStatus();
}

absl::StatusOr<std::string> unescape(std::string_view literal) {
  std::string text;
  text.reserve(literal.size());
  for (size_t at = 0; at < literal.size();) {
    if (literal[at] != '\\') {
      text += literal[at++];
    } else {
      RETURN_IF_ERROR(append_escape(literal, ++at, text));
    }
  }
  return text;
}

class Lexer {
 public:
  Lexer(const Source& source, const Limits& limits)
      : source_(source), text_(source.text()), limits_(limits) {}

  absl::StatusOr<std::vector<Token>> run();

 private:
  absl::Status fail(size_t offset, std::string_view message) const {
    return source_.locate(invalid_argument("{}", message), offset);
  }
  bool at(std::string_view spelling) const { return text_.substr(at_).starts_with(spelling); }
  void add(TokenType type, size_t begin, size_t end) {
    tokens_.push_back({.type = type, .offset = begin, .text = text_.substr(begin, end - begin)});
  }
  // Text before a tag; `sign` is the tag's whitespace control.
  void add_data(size_t begin, size_t end, char sign, bool is_variable);
  size_t find_tag(size_t from) const;
  char sign_at(size_t at) const {
    return at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : '\0';
  }
  // Where what follows a tag's end begins, if a tag ends at `at` with `close`; npos otherwise.
  size_t after_close(size_t at, std::string_view close) const;
  // Where the inside of a raw block begins, if one is opened at `at`.
  size_t after_raw_open(size_t at) const;

  absl::Status comment();
  absl::Status raw(size_t inside);
  absl::Status tag(bool is_variable);
  absl::Status token();
  absl::Status number();
  absl::Status integer(size_t begin, size_t end);
  absl::Status string();
  absl::Status sign();

  const Source& source_;
  const std::string_view text_;
  const Limits& limits_;
  std::vector<Token> tokens_;
  std::vector<char> open_;  // the brackets that must still be closed
  size_t at_ = 0;
  bool is_line_start_ = true;
};

void Lexer::add_data(size_t begin, size_t end, char sign, bool is_variable) {
  if (sign == '-') {
    end = begin + strip_spaces_before(text_.substr(begin, end - begin), end - begin);
  } else if (sign != '+' && !is_variable) {
    // lstrip_blocks: a tag that stands first on its line takes the spaces before it.
    const std::string_view data = text_.substr(begin, end - begin);
    const size_t line = data.rfind('\n') + 1;
    if ((line > 0 || is_line_start_) && skip_spaces(data, line) == data.size()) end = begin + line;
  }
  if (begin < end) add(TokenType::kData, begin, end);
}

size_t Lexer::find_tag(size_t from) const {
  for (size_t at = text_.find('{', from); at != std::string_view::npos;
       at = text_.find('{', at + 1)) {
    if (at + 1 >= text_.size()) break;
    const char next = text_[at + 1];
    if (next == '%' || next == '{' || next == '#') return at;
  }
  return std::string_view::npos;
}

size_t Lexer::after_close(size_t at, std::string_view close) const {
  const std::string_view rest = text_.substr(at);
  if (rest.starts_with('-') && rest.substr(1).starts_with(close)) {
    return skip_spaces(text_, at + 1 + close.size());
  }
  const bool is_variable = close == "}}";
  if (!is_variable && rest.starts_with('+') && rest.substr(1).starts_with(close)) {
    return at + 1 + close.size();
  }
  if (!rest.starts_with(close)) return std::string_view::npos;
  at += close.size();
  // trim_blocks: the line end after a block or comment goes with it.
  if (!is_variable && at < text_.size() && text_[at] == '\n') ++at;
  return at;
}

size_t Lexer::after_raw_open(size_t at) const {
  at += 2;
  if (sign_at(at) != '\0') ++at;
  at = skip_spaces(text_, at);
  if (!text_.substr(at).starts_with("raw")) return std::string_view::npos;
  at = skip_spaces(text_, at + 3);
  if (text_.substr(at).starts_with("-%}")) return skip_spaces(text_, at + 3);
  return text_.substr(at).starts_with("%}") ? at + 2 : std::string_view::npos;
}

absl::StatusOr<std::vector<Token>> Lexer::run() {
  while (at_ < text_.size()) {
    const size_t begin = find_tag(at_);
    if (begin == std::string_view::npos) {
      add(TokenType::kData, at_, text_.size());
      break;
    }
    const char kind = text_[begin + 1];
    add_data(at_, begin, sign_at(begin + 2), kind == '{');
    at_ = begin;
    if (kind == '#') {
      RETURN_IF_ERROR(comment());
    } else if (kind == '{') {
      RETURN_IF_ERROR(tag(true));
    } else if (const size_t inside = after_raw_open(begin); inside != std::string_view::npos) {
      RETURN_IF_ERROR(raw(inside));
    } else {
      RETURN_IF_ERROR(tag(false));
    }
    is_line_start_ = text_[at_ - 1] == '\n';
    if (std::ssize(tokens_) > limits_.nodes_max) {
      return source_.locate(
          resource_exhausted("the template has more than {} tokens", limits_.nodes_max), at_);
    }
  }
  add(TokenType::kEnd, text_.size(), text_.size());
  return std::move(tokens_);
}

absl::Status Lexer::comment() {
  const size_t begin = at_;
  const size_t inside = begin + (sign_at(begin + 2) != '\0' ? 3 : 2);
  size_t end = text_.find("#}", inside);
  if (end == std::string_view::npos) return fail(begin, "this comment has no end; expected '#}'");
  if (end > inside && sign_at(end - 1) != '\0') --end;
  at_ = after_close(end, "#}");
  return absl::OkStatus();
}

absl::Status Lexer::raw(size_t inside) {
  const size_t begin = at_;
  is_line_start_ = text_[inside - 1] == '\n';
  for (size_t end = text_.find("{%", inside); end != std::string_view::npos;
       end = text_.find("{%", end + 1)) {
    const char control = sign_at(end + 2);
    size_t at = skip_spaces(text_, end + (control == '\0' ? 2 : 3));
    if (!text_.substr(at).starts_with("endraw")) continue;
    at = after_close(skip_spaces(text_, at + 6), "%}");
    if (at == std::string_view::npos) continue;
    add_data(inside, end, control, false);
    at_ = at;
    return absl::OkStatus();
  }
  return fail(begin, "this raw block has no end; expected '{% endraw %}'");
}

absl::Status Lexer::tag(bool is_variable) {
  const std::string_view close = is_variable ? "}}" : "%}";
  const size_t begin = at_;
  add(is_variable ? TokenType::kVariableBegin : TokenType::kBlockBegin, at_, at_ + 2);
  at_ += 2;
  if (sign_at(at_) != '\0') ++at_;
  open_.clear();
  while (true) {
    at_ = skip_spaces(text_, at_);
    if (at_ >= text_.size()) {
      return fail(begin, fmt::format("this tag has no end; expected '{}'", close));
    }
    if (open_.empty()) {
      const size_t after = after_close(at_, close);
      if (after != std::string_view::npos) {
        add(is_variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, at_, at_ + close.size());
        at_ = after;
        return absl::OkStatus();
      }
    }
    RETURN_IF_ERROR(token());
    if (std::ssize(tokens_) > limits_.nodes_max) return absl::OkStatus();
  }
}

absl::Status Lexer::token() {
  const char c = text_[at_];
  if (is_digit(c)) return number();
  if (is_name_start(c)) {
    size_t end = at_;
    while (end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) ++end;
    if (static_cast<int64_t>(end - at_) > limits_.name_bytes_max) {
      return source_.locate(
          resource_exhausted("this name has more than {} bytes", limits_.name_bytes_max), at_);
    }
    add(TokenType::kName, at_, end);
    at_ = end;
    return absl::OkStatus();
  }
  if (c == '"' || c == '\'') return string();
  return sign();
}

absl::Status Lexer::number() {
  const size_t begin = at_;
  size_t end = skip_digits(text_, begin);
  bool is_float = false;
  const bool follows_dot = begin > 0 && text_[begin - 1] == '.';
  if (!follows_dot && end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
    is_float = true;
    end = skip_digits(text_, end + 1);
  }
  if (!follows_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
    size_t digits = end + 1;
    if (digits < text_.size() && (text_[digits] == '+' || text_[digits] == '-')) ++digits;
    if (digits < text_.size() && is_digit(text_[digits])) {
      is_float = true;
      end = skip_digits(text_, digits);
    }
  }
  const bool has_base = end == begin + 1 && text_[begin] == '0' && end < text_.size() &&
                        std::string_view("xXoObB").find(text_[end]) != std::string_view::npos;
  if (has_base) {
    return source_.locate(unimplemented("numbers in other bases than 10 are not supported"), begin);
  }
  if (!is_float) return integer(begin, end);
  std::string digits(text_.substr(begin, end - begin));
  std::erase(digits, '_');
  add(TokenType::kFloat, begin, end);
  // Too large for a double is infinite, as in Python.
  tokens_.back().number = std::strtod(digits.c_str(), nullptr);
  at_ = end;
  return absl::OkStatus();
}

absl::Status Lexer::integer(size_t begin, size_t end) {
  at_ = end;
  std::string digits(text_.substr(begin, end - begin));
  std::erase(digits, '_');
  if (digits[0] == '0' && digits.find_first_not_of('0') != std::string::npos) {
    return fail(begin, "a number cannot begin with 0");
  }
  add(TokenType::kInteger, begin, end);
  const char* last = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), last, tokens_.back().integer);
  return error == std::errc() ? absl::OkStatus() : source_.locate(integer_overflow(), begin);
}

absl::Status Lexer::string() {
  const size_t begin = at_;
  const char quote = text_[begin];
  size_t end = begin + 1;
  while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
  if (end >= text_.size()) {
    return fail(begin, fmt::format("this string has no end; expected {}", quote));
  }
  absl::StatusOr<std::string> content = unescape(text_.substr(begin + 1, end - begin - 1));
  if (!content.ok()) return source_.locate(content.status(), begin);
  add(TokenType::kString, begin, end + 1);
  tokens_.back().string = *std::move(content);
  at_ = end + 1;
  return absl::OkStatus();
}

absl::Status Lexer::sign() {
  const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                   [&](std::string_view spelling) { return at(spelling); });
  if (found == std::end(kOperators)) {
    const size_t size = code_point_at(text_, at_).size;
    return fail(at_, fmt::format("unexpected character '{}'", text_.substr(at_, size)));
  }
  const char c = (*found)[0];
  if (c == '(' || c == '[' || c == '{') {
    open_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
  } else if (c == ')' || c == ']' || c == '}') {
    if (open_.empty()) return fail(at_, fmt::format("unexpected '{}'; no bracket is open", c));
    if (open_.back() != c) {
      return fail(at_, fmt::format("unexpected '{}'; expected '{}'", c, open_.back()));
    }
    open_.pop_back();
  }
  add(TokenType::kOperator, at_, at_ + found->size());
  at_ += found->size();
  return absl::OkStatus();
}

}  // namespace

std::string Token::describe() const {
  switch (type) {
    case TokenType::kEnd:
      return "the end of the template";
    case TokenType::kData:
      return "text";
    case TokenType::kBlockEnd:
    case TokenType::kVariableEnd:
      return fmt::format("the end of the tag ('{}')", text);
    default:
      return fmt::format("'{}'", text);
  }
}

absl::StatusOr<std::vector<Token>> tokenize(const Source& source, const Limits& limits) {
  return Lexer(source, limits).run();
}

}  // namespace millrace::jinja
