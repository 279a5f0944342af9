#pragma once

#include <string>

#include "apps/options/cli.h"
#include "base/metadata.h"
#include "base/status.h"
#include "chat/chat.h"

namespace millrace {

// `--chat-template NAME|FILE`, for every command that renders conversations.
void bind_chat_template(CLI::App& command, std::string& name_or_file);

// The chat template of a model; with a `name_or_file`, the published one of that name, else the
// model's own variant of that name, else a file's. `begins_with_bos`: the vocabulary's prompts do,
// and so what a named template renders. NOT_FOUND, naming the option: there is none.
absl::StatusOr<ChatTemplate> chosen_chat_template(const Metadata& metadata, bool begins_with_bos,
                                                  const std::string& name_or_file);

}  // namespace millrace
