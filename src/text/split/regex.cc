#include "text/split/regex.h"

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"

namespace millrace {
namespace {

PCRE2_SPTR bytes_of(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

bool compiles(const std::string& expression) {
  int error = 0;
  size_t where = 0;
  pcre2_code* code =
      pcre2_compile(bytes_of(expression), expression.size(), PCRE2_UTF, &error, &where, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// What Oniguruma, for which published expressions are written, has for \w in a class: letters,
// marks, decimal digits, connectors, letters in circles and squares. Alone it has Latin-1's other
// numbers too. PCRE2's has neither marks nor those.
constexpr std::string_view kWordChars =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9})"
    R"(\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
constexpr std::string_view kLatinNumbers = R"(\xB2\xB3\xB9\xBC-\xBE)";

// What is to stand for the escape at the front of `text`, and how long that is.
std::pair<std::string, size_t> translated(std::string_view text, bool in_class) {
  // PCRE2 counts U+180E among its spaces; Unicode has not since 6.3.
  if (text.starts_with("\\s")) return {"\\p{wspace}", 2};
  if (text.starts_with("\\S")) return {"\\P{wspace}", 2};
  if (text.starts_with("\\w") && in_class) return {std::string(kWordChars), 2};
  if (text.starts_with("\\w")) return {fmt::format("[{}{}]", kWordChars, kLatinNumbers), 2};
  if (text.starts_with("\\W") && !in_class) {
    return {fmt::format("[^{}{}]", kWordChars, kLatinNumbers), 2};
  }
  // A script's name alone means to PCRE2 all that is used with the script.
  if (text.starts_with("\\p{") || text.starts_with("\\P{")) {
    const size_t length = std::min(text.find('}'), text.size() - 1) + 1;
    const auto script = fmt::format("{}sc:{}", text.substr(0, 3), text.substr(3, length - 3));
    if (compiles(script)) return {script, length};
  }
  return {std::string(text.substr(0, 2)), std::min<size_t>(2, text.size())};
}

// Bytes at the front of `text` that begin a class, or name one within a class; 0: none.
size_t bracket_bytes(std::string_view text, bool in_class) {
  if (in_class) {
    const size_t end = text.starts_with("[:") ? text.find(":]") : text.npos;
    return end == text.npos ? 0 : end + 2;
  }
  if (!text.starts_with('[')) return 0;
  const size_t first = text.starts_with("[^") ? 2 : 1;
  return text.substr(first).starts_with(']') ? first + 1 : first;  // a bracket first is itself
}

std::string in_pcre2_terms(std::string_view expression) {
  std::string out;
  bool in_class = false;
  while (!expression.empty()) {
    size_t length = bracket_bytes(expression, in_class);
    if (length > 0) {
      in_class = true;
      out += expression.substr(0, length);
    } else if (expression[0] == '\\') {
      std::string escape;
      std::tie(escape, length) = translated(expression, in_class);
      out += escape;
    } else {
      if (expression[0] == ']') in_class = false;
      out += expression[0];
      length = 1;
    }
    expression.remove_prefix(length);
  }
  return out;
}

std::string words_of(int error) {
  std::array<PCRE2_UCHAR, 256> words{};
  pcre2_get_error_message(error, words.data(), words.size());
  return reinterpret_cast<const char*>(words.data());
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void Regex::Room::Free::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}

Regex::Room::Room() : data_(pcre2_match_data_create(1, nullptr)) {
  CHECK(data_ != nullptr, "no memory for a match");
}

Regex::Regex(pcre2_real_code_8* code) : code_(code) {
  compiled_to_machine_code_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

absl::StatusOr<Regex> Regex::compile(std::string_view expression) {
  const std::string text = in_pcre2_terms(expression);
  int error = 0;
  size_t where = 0;
  pcre2_code* code =
      pcre2_compile(bytes_of(text), text.size(), PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr);
  if (code == nullptr) {
    return invalid_argument("the expression '{}' cannot be read: {}, at '{}'", expression,
                            words_of(error), std::string_view(text).substr(where));
  }
  return Regex(code);
}

std::optional<ByteRange> Regex::find(std::string_view text, size_t from, Room& room) const {
  pcre2_match_data* const data = room.data_.get();
  // A text's UTF-8 was checked once; PCRE2 would do it again for each match.
  const auto match = [&](uint32_t options) {
    return pcre2_match(code_.get(), bytes_of(text), text.size(), from, options | PCRE2_NO_UTF_CHECK,
                       data, nullptr);
  };
  int found = compiled_to_machine_code_ ? pcre2_jit_match(code_.get(), bytes_of(text), text.size(),
                                                          from, 0, data, nullptr)
                                        : match(0);
  // Machine code runs on the thread's own stack, the interpreter in the heap.
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = match(PCRE2_NO_JIT);
  if (found < 0) return std::nullopt;
  const size_t* const range = pcre2_get_ovector_pointer(data);
  return ByteRange{range[0], range[1]};
}

}  // namespace millrace
