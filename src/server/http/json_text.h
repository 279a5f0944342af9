#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace millrace {

// Members keep their order, in requests for the templates' sake and in answers for the readers'.
using Json = nlohmann::ordered_json;

// Compact. Bytes that are not UTF-8 become U+FFFD.
std::string json_text(const Json& value);
// Appends `element` to the text `list`, after a comma where it is not the first.
void append_element(std::string_view element, std::string& list);

struct JsonLimits {
  int32_t depth = 64;
  int32_t keys = 1000;       // of one object
  int32_t values = 1 << 20;  // in all; each costs some tens of bytes besides its text
};

// Parses a JSON text of a client. Limits and duplicate keys are judged while parsing, so the time
// is linear in the text whatever it holds.
absl::StatusOr<Json> parse_json(std::string_view text, const JsonLimits& limits = {});
// Whether a text is JSON within the limits; an object may have the same key twice.
bool is_json_within(std::string_view text, const JsonLimits& limits);

}  // namespace millrace
