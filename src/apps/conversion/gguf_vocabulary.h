#pragma once

#include <cstdint>
#include <string>

#include "base/metadata.h"
#include "base/status.h"

namespace millrace {

// Adds what a folder says about text as a GGUF file says it: `tokenizer.ggml.*` of its
// tokenizer.json, filled up to `vocab_size` tokens, and its chat templates. A folder without a
// tokenizer gets no vocabulary ("no_vocab"). UNIMPLEMENTED: GGUF has no way to say what this
// tokenizer does; that it has one is seen by encoding a text with both.
absl::Status add_vocabulary(const std::string& folder, int32_t vocab_size, Metadata& metadata);

}  // namespace millrace
