#pragma once

#include "apps/options/cli.h"

namespace millrace {

// Gives `app` the option --config FILE, to be called before its commands are added. The file (TOML
// or INI) sets options of the command that was typed by their names without dashes; a section
// [NAME] holds for the command NAME only. The command line wins over the environment, and that over
// the file; a name that the command does not have is left over, as an unknown argument is.
void add_config_option(CLI::App& app);

}  // namespace millrace
