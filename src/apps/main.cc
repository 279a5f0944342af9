#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/config_file.h"
#include "base/log.h"

int main(int argc, char** argv) {
  millrace::set_up_log(spdlog::level::info);
  CLI::App app("Serves, compresses and measures language models on machines you own.", "millrace");
  app.set_version_flag("--version", std::string("millrace ") + MILLRACE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  millrace::add_config_option(app);
  int exit_code = 0;
  millrace::add_commands(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fmt::print(stderr, "millrace: {}\n", error.what());
    return 2;
  }
  return exit_code;
}
