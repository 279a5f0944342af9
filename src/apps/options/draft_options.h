#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/options/cli.h"

namespace millrace {

// The options of llama-server and vLLM that say what drafts, as members of --speculative-config.
struct DraftOptions {
  std::string first_given;           // the name of one that asks for something; empty: none does
  std::vector<std::string> members;  // of the object, as JSON
  bool has_method = false;
  bool is_off = false;  // drafts of 0 tokens

  std::string as_config() const;  // empty: nothing is drafted
};
void bind(CLI::App& command, DraftOptions& options);

}  // namespace millrace
