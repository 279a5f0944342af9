#pragma once

#include <cstdio>
#include <string>

#include "apps/options/cli.h"
#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace render`: what a chat template makes of a conversation.
struct RenderOptions {
  std::string source;         // a model, its vocabulary alone, or a Jinja file
  std::string context;        // '-': standard input
  std::string chat_template;  // empty: the model's own
  VocabularyOptions vocabulary;
  bool tokens = false;
  bool as_served = false;
  std::string date;  // empty: now
};

void bind(CLI::App& command, RenderOptions& options);
absl::Status run_render(const RenderOptions& options, std::FILE* in, std::FILE* out);

}  // namespace millrace
