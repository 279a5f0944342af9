#include "apps/options/environment.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "apps/options/foreign_options.h"
#include "apps/options/option_names.h"
#include "apps/terminal/one_line.h"

namespace millrace {
namespace {

constexpr std::string_view kPrefix = "MILLRACE_";

std::vector<std::string> known_variables(const CLI::App& app) {
  std::vector<std::string> known = {variable_of("config")};
  for (const CLI::App* command : app.get_subcommands({})) {
    for (const CLI::Option* option : command->get_options()) {
      if (!option->get_envname().empty()) known.push_back(option->get_envname());
    }
  }
  return known;
}

void warn_of_unknown(const std::vector<std::string>& known) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string name(text.substr(0, text.find('=')));
    if (!name.starts_with(kPrefix) || std::ranges::find(known, name) != known.end()) continue;
    const std::string meant = nearest(name, known);
    fmt::print(stderr, "millrace: the environment's {} sets no option{}\n", one_line(name),
               meant.empty() ? "" : "; did you mean " + meant + "?");
  }
}

}  // namespace

void bind_environment(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    for (CLI::Option* option : command->get_options()) {
      const auto& names = option->get_lnames();
      if (names.empty() || option == command->get_help_ptr()) continue;
      option->envname(variable_of(names.front()));
    }
  }
  const std::vector<std::string> known = known_variables(app);
  for (CLI::App* typed : app.get_subcommands({})) {
    typed->preparse_callback([&app, typed, known](size_t) {
      warn_of_unknown(known);
      // CLI11 reads the variables of all commands; those of others are not this one's.
      for (CLI::App* other : app.get_subcommands({})) {
        if (other == typed) continue;
        for (CLI::Option* option : other->get_options()) option->envname("");
      }
    });
  }
}

std::vector<std::string> arguments_of(const CLI::App& app, std::vector<std::string> arguments) {
  if (!arguments.empty() && arguments.front() == "version") arguments = {"--version"};
  if (!arguments.empty() && arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.resize(std::min(arguments.size(), size_t{1}));
    const bool is_own = !arguments.empty() && (arguments[0] == "help" || arguments[0] == "version");
    if (is_own) arguments.clear();  // the list of commands says what they do
    const bool is_unknown = !arguments.empty() && !has_command(app, arguments[0]);
    if (!is_unknown) arguments.emplace_back("--help");
  }
  const bool serves = !arguments.empty() && arguments.front() == "serve";
  if (serves) {
    for (std::string& argument : arguments) argument = long_name_of(argument);
  }
  // Of those words `run` takes one; what is behind "--" is a prompt.
  if (!arguments.empty() && arguments.front() == "run") {
    std::replace(arguments.begin(), std::ranges::find(arguments, "--"), std::string("-md"),
                 long_name_of("-md"));
  }
  const bool has_config = std::ranges::any_of(arguments, [](const std::string& a) {
    return a == "--config" || a.starts_with("--config=");
  });
  const char* config = std::getenv(variable_of("config").c_str());
  if (config != nullptr && *config != '\0' && !arguments.empty() && !has_config) {
    arguments.insert(arguments.begin() + 1, std::string("--config=") + config);
  }
  std::ranges::reverse(arguments);
  return arguments;
}

}  // namespace millrace
