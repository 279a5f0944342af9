#pragma once

#include <span>
#include <string_view>

namespace millrace {

// What answers look like, as JSON Schema.
struct AnswerSchema {
  std::string_view name;
  std::string_view text;
};

std::span<const AnswerSchema> answer_schemas();

}  // namespace millrace
