#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include <absl/status/status.h>

#include "server/api_request.h"

namespace millrace {

// What ranges depend on.
struct ReadContext {
  int32_t vocab_size = 0;
  int32_t logprobs_max = 20;
  int32_t stops_max = 16;
  int64_t stop_bytes_max = 1024;  // of one
  int32_t biases_max = 1000;
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
struct FlagField {
  void (*set)(ApiRequest&, bool);
};
struct TextField {
  void (*set)(ApiRequest&, const std::string&);
};
// Anything with a shape of its own; errors carry their path.
struct ShapedField {
  absl::Status (*read)(const Json&, const ReadContext&, ApiRequest&);
};
// Taken and without effect here: a hint, or something for the client's own records.
struct HintField {};
// OpenAI or vLLM define it and Millrace does not do it. `harmless` lists, as JSON texts between
// spaces, the values that ask for nothing.
struct UnsupportedField {
  std::string_view harmless;
};

// One field of a request body. null is the same as absent, but for a ShapedField that looks at it.
struct Field {
  std::string_view name;
  std::variant<NumberField, IntegerField, FlagField, TextField, ShapedField, HintField,
               UnsupportedField>
      rule;
};

std::span<const Field> common_fields();      // of every generating route
std::span<const Field> completion_fields();  // besides the common ones
std::span<const Field> chat_fields();        // besides the common ones

// Reads `body`, an object, by the tables; fields that they do not know are ignored. Then judges
// what concerns several fields at once.
absl::StatusOr<ApiRequest> read_completion(const Json& body, const ReadContext& context);
absl::StatusOr<ApiRequest> read_chat(const Json& body, const ReadContext& context);

}  // namespace millrace
