#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "chat/jinja/bigint.h"
#include "chat/jinja/limits.h"
#include "chat/jinja/source.h"

namespace millrace::jinja {

enum class TokenType : uint8_t {
  kData,           // text between tags, whitespace control applied
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenType type = TokenType::kEnd;
  size_t offset = 0;
  std::string_view text;  // as in the source; of data, what is left after stripping
  std::string string{};   // of kString: escapes read
  int64_t integer = 0;
  std::optional<BigInt> big{};  // of kInteger beyond 64 bits
  double number = 0;

  bool is(TokenType wanted, std::string_view spelling) const {
    return type == wanted && text == spelling;
  }
  bool is_name(std::string_view name) const { return is(TokenType::kName, name); }
  bool is_operator(std::string_view sign) const { return is(TokenType::kOperator, sign); }
  // For "expected X, found Y".
  std::string describe() const;
};

// With trim_blocks and lstrip_blocks, as transformers renders chat templates. Ends with one kEnd.
// Views look into the source.
absl::StatusOr<std::vector<Token>> tokenize(const Source& source, const Limits& limits);

}  // namespace millrace::jinja
