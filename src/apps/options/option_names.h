#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/options/cli.h"

// The names of options: as a person writes them, as the environment does, and the nearest to a
// misspelt one.

namespace millrace {

// "MILLRACE_MAX_NUM_SEQS" for "max-num-seqs", with or without dashes before it.
std::string variable_of(std::string_view option);

// The one of `known` that takes the fewest single edits to get from `given`; empty when that is
// more than a third of its letters.
std::string nearest(std::string_view given, const std::vector<std::string>& known);

// Every name of every option of `command`, with its dashes.
std::vector<std::string> option_names(const CLI::App& command);

// The command that was typed; null before it is known.
const CLI::App* typed_command(const CLI::App& app);

bool has_command(const CLI::App& app, const std::string& name);

// Why options may not come before the command, where they do; empty otherwise.
std::string misplaced_option(const CLI::App& app, std::vector<std::string> arguments);

// Why the first argument or line of a file that nothing took was not taken; empty if all were.
std::string unexpected_argument(const CLI::App& app);

}  // namespace millrace
