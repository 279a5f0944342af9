#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>

#include "core/answer_defaults.h"
#include "server/request/api_request.h"

namespace millrace {

// What ranges depend on.
struct ReadContext {
  int32_t vocab_size = 0;
  int32_t logprobs_max = 20;
  int32_t stops_max = 16;
  int64_t stop_bytes_max = 1024;  // of one
  int32_t stop_tokens_max = 256;
  int64_t bad_word_bytes_max = 65536;  // of all
  int32_t biases_max = 1000;
  JsonLimits json = {};                      // of JSON texts inside
  std::string_view request_id = {};          // for the log
  const AnswerDefaults* defaults = nullptr;  // of the model
};

struct NumberField {
  double min, max;
  bool above_min;  // min itself is out
  void (*set)(ApiRequest&, double);
};
struct IntegerField {
  int64_t min, max;
  void (*set)(ApiRequest&, int64_t);
};
// How many of the likeliest tokens to report.
struct LogprobsField {
  void (*set)(ApiRequest&, int32_t);
};
struct FlagField {
  void (*set)(ApiRequest&, bool);
};
struct TextField {
  void (*set)(ApiRequest&, const std::string&);
};
// A list of token ids.
struct TokensField {
  void (*set)(ApiRequest&, std::vector<TokenId>);
};
// Anything with a shape of its own; errors carry their path.
struct ShapedField {
  absl::Status (*read)(const Json&, const ReadContext&, ApiRequest&);
  std::string_view schema;  // the shape as JSON Schema, for the documents
};
// Accepted without effect: a hint, or something for the client's own records.
struct HintField {};
// OpenAI or another server defines it and Millrace does not support it. `harmless` lists, as JSON
// texts between spaces, the values that ask for nothing.
struct UnsupportedField {
  std::string_view harmless;
};

// One field of a request body. null is the same as absent, but for a ShapedField that looks at it.
struct Field {
  std::string_view name;
  std::variant<NumberField, IntegerField, LogprobsField, FlagField, TextField, TokensField,
               ShapedField, HintField, UnsupportedField>
      rule;
  std::string_view about = {};  // one line, for the documents
};

inline constexpr int64_t kIntegerMax = INT32_MAX;     // where a rule knows no smaller one
inline constexpr double kNumberMax = 3.40282347e+38;  // FLT_MAX: what the sampler can hold

// An integer within bounds; a number with a fraction is none. `path` names it in the error.
absl::StatusOr<int64_t> read_integer(const Json& value, std::string_view path, int64_t min,
                                     int64_t max);
// A list of ids of the vocabulary.
absl::StatusOr<std::vector<TokenId>> read_token_ids(const Json& value, std::string_view path,
                                                    const ReadContext& context);

// Reads one value by its field's rule.
absl::Status read_field(const Field& field, const Json& value, const ReadContext& context,
                        ApiRequest& request);

}  // namespace millrace
