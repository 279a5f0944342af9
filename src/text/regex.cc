#include "text/regex.h"

#include <algorithm>
#include <array>
#include <string>
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

// What is to stand for the escape at the front of `text`, and how long that is.
std::pair<std::string, size_t> translated(std::string_view text) {
  // PCRE2 counts U+180E among its spaces; Unicode has not since 6.3.
  if (text.starts_with("\\s")) return {"\\p{wspace}", 2};
  if (text.starts_with("\\S")) return {"\\P{wspace}", 2};
  // A script's name alone means to PCRE2 all that is used with the script.
  if (text.starts_with("\\p{") || text.starts_with("\\P{")) {
    const size_t length = std::min(text.find('}'), text.size() - 1) + 1;
    const auto script = fmt::format("{}sc:{}", text.substr(0, 3), text.substr(3, length - 3));
    if (compiles(script)) return {script, length};
  }
  return {std::string(text.substr(0, 2)), std::min<size_t>(2, text.size())};
}

std::string in_pcre2_terms(std::string_view expression) {
  std::string out;
  while (!expression.empty()) {
    if (expression[0] != '\\') {
      out += expression[0];
      expression.remove_prefix(1);
      continue;
    }
    const auto [escape, length] = translated(expression);
    out += escape;
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
