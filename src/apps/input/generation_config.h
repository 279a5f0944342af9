#pragma once

#include <cstdint>
#include <string>

#include "apps/options/cli.h"
#include "base/status.h"
#include "core/answer_defaults.h"

namespace millrace {

// `--generation-config auto|none|PATH`, for commands that answer.
void bind_generation_config(CLI::App& command, std::string& choice);

// What the model's folder says about its answers (`auto`), what the file or folder that `choice`
// names does, or nothing but how they end (`none`; vLLM says `vllm`). A GGUF file says nothing.
// Errors name the file and the key at fault; ids are below `vocab_size`.
absl::StatusOr<AnswerDefaults> read_answer_defaults(const std::string& model,
                                                    const std::string& choice, int32_t vocab_size);

}  // namespace millrace
