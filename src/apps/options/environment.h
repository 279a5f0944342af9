#pragma once

#include <string>
#include <vector>

#include "apps/options/cli.h"

namespace millrace {

// Lets every option of the command that is typed be set by the environment variable of its first
// name, and warns of variables that look like one and are not. To be called once all commands are
// there.
void bind_environment(CLI::App& app);

// The program's arguments as CLI11 takes them: last first, with a --config of the environment,
// with `serve`'s short words of llama-server as the names they stand for, and `help` and `version`
// as options.
std::vector<std::string> arguments_of(const CLI::App& app, std::vector<std::string> arguments);

}  // namespace millrace
