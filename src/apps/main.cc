#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/exhausted.h"
#include "apps/options/config_file.h"
#include "apps/options/environment.h"
#include "apps/options/option_names.h"
#include "apps/terminal/one_line.h"
#include "base/log.h"

namespace {

// Without the variable of each option: the last lines of the help have the rule.
class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = CLI::Formatter::make_option_opts(option);
    const std::string variable = " (Env:" + option->get_envname() + ")";
    if (const size_t at = text.find(variable); at != std::string::npos) {
      text.erase(at, variable.size());
    }
    return text;
  }
};

}  // namespace

int main(int argc, char** argv) {
  millrace::end_plainly_when_exhausted();
  millrace::set_up_log(spdlog::level::info);
  CLI::App app("Serves, compresses and measures language models on machines you own.", "millrace");
  app.set_version_flag("--version", std::string("millrace ") + MILLRACE_VERSION);
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(34);
  millrace::add_config_option(app);
  int exit_code = 0;
  millrace::add_commands(app, exit_code);
  millrace::bind_environment(app);
  try {
    app.parse(millrace::arguments_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string unexpected = millrace::unexpected_argument(app);
    fmt::print(stderr, "millrace: {}\n",
               millrace::one_line(unexpected.empty() ? error.what() : unexpected));
    return 2;
  }
  return exit_code;
}
