#pragma once

#include "apps/cli.h"

namespace millrace {

// Gives `app` the option --config FILE, to be called before its commands are added. The file (TOML
// or INI) sets options of the command that was typed by their names without dashes; a section
// [NAME] holds for the command NAME only. What stands on the command line wins; a name that the
// command does not have is an error.
void add_config_option(CLI::App& app);

}  // namespace millrace
