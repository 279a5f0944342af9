#pragma once

#include "apps/options/cli.h"

namespace millrace {

// Adds every command to `app`; the one that was typed puts its exit code into `exit_code`.
void add_commands(CLI::App& app, int& exit_code);

}  // namespace millrace
