#pragma once

#include <string>

#include "apps/options/cli.h"

namespace millrace {

// Options that scripts for vLLM and llama-server bring and that mean nothing to Millrace. They are
// taken where their value asks for nothing, and refused with the reason otherwise.
void bind_foreign_options(CLI::App& command);

// "--parallel" for llama-server's "-np" and the like, which CLI11 would read as -n p; anything else
// as it is.
std::string long_name_of(const std::string& argument);

}  // namespace millrace
