#include <csignal>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/exhausted.h"
#include "apps/options/config_file.h"
#include "apps/options/environment.h"
#include "apps/options/option_names.h"
#include "apps/terminal/one_line.h"
#include "apps/terminal/output.h"
#include "apps/terminal/text_width.h"
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

int refuse(std::string_view why) {
  millrace::tell(fmt::format("millrace: {}\n", millrace::one_line(why)));
  return 2;
}

// A text may be longer than what the stream keeps until it is flushed.
int print(std::string_view text, int exit_code) {
  const absl::Status written = millrace::write_output(text, stdout);
  if (written.ok()) return exit_code;
  millrace::tell(fmt::format("millrace: {}\n", millrace::message_of(written)));
  return 1;
}

// Of --help and --version.
int print_answer(const CLI::App& app, const CLI::ParseError& error) {
  std::ostringstream text;
  app.exit(error, text, text);
  return print(text.str(), 0);
}

std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
  const std::string unexpected = millrace::unexpected_argument(app);
  if (!unexpected.empty()) return unexpected;
  const std::string_view what = error.what();
  if (const size_t at = what.find(": At Most 1 required"); at != std::string_view::npos) {
    return fmt::format("{} is given more than once", what.substr(0, at));
  }
  const CLI::App* command = millrace::typed_command(app);
  if (command == nullptr || error.get_name() != "RequiredError") return error.what();
  return fmt::format("{}: {}; `millrace help {}` says how it is used", command->get_name(),
                     error.what(), command->get_name());
}

int run_program(int argc, char** argv) {
  CLI::App app("Serves, compresses and measures language models on machines you own.", "millrace");
  app.set_version_flag("--version", std::string("millrace ") + MILLRACE_VERSION);
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(34);
  app.footer("`millrace help COMMAND` lists a command's options; `millrace version` is --version.");
  millrace::add_config_option(app);
  int exit_code = 0;
  millrace::add_commands(app, exit_code);
  millrace::bind_environment(app);
  if (argc < 2) {
    return print(app.help(), 2);
  }
  if (const std::string why = millrace::misplaced_option(app, {argv + 1, argv + argc});
      !why.empty()) {
    return refuse(why);
  }
  try {
    app.parse(millrace::arguments_of(app, {argv + 1, argv + argc}));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return print_answer(app, error);
    return refuse(what_is_wrong(app, error));
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  millrace::occupy_closed_streams();
  // The reader of the output may stop reading: that ends the program without a word, even where the
  // parent ignores the signal.
  std::signal(SIGPIPE, SIG_DFL);
  millrace::end_plainly_when_exhausted();
  millrace::use_unicode_locale();
  millrace::set_up_log(spdlog::level::info);
  const int exit_code = run_program(argc, argv);
  const absl::Status written = millrace::flush_output(stdout);
  if (exit_code != 0 || written.ok()) return exit_code;
  millrace::tell(fmt::format("millrace: {}\n", millrace::message_of(written)));
  return 1;
}
