#pragma once

#include <string_view>

#include "base/metadata.h"
#include "base/status.h"

namespace millrace {

// The chat templates of a Hugging Face folder, under the keys that a GGUF file has for them.
// `jinja` is its chat_template.jinja; where that is empty, they are in `config`, its
// tokenizer_config.json, which may be empty too: one template, or some with names. Errors name the
// path at fault.
absl::StatusOr<Metadata> folder_templates(std::string_view config, std::string_view jinja);

}  // namespace millrace
