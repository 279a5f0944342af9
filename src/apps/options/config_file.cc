#include "apps/options/config_file.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "apps/options/option_names.h"

namespace millrace {
namespace {

// CLI11 reads a file's names as the root's; this gives them to the command that was typed.
class CommandConfig final : public CLI::ConfigTOML {
 public:
  explicit CommandConfig(const CLI::App& app) : app_(app) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> for_command;
    const CLI::App* typed = typed_command(app_);
    if (typed == nullptr) return for_command;
    const std::string command = typed->get_name();
    for (CLI::ConfigItem& item : CLI::ConfigTOML::from_config(input)) {
      const bool is_section_mark = item.name == "++" || item.name == "--";
      const bool is_elsewhere = !item.parents.empty() && item.parents.front() != command;
      const char* variable = std::getenv(variable_of(item.name).c_str());
      const bool is_overruled = variable != nullptr && *variable != '\0';
      if (is_section_mark || is_elsewhere || is_overruled) continue;
      if (item.parents.empty()) item.parents.push_back(command);
      for_command.push_back(std::move(item));
    }
    return for_command;
  }

 private:
  const CLI::App& app_;
};

}  // namespace

void add_config_option(CLI::App& app) {
  app.set_config("--config", "",
                 "TOML or INI file that sets options of the command by their names without dashes")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  app.config_formatter(std::make_shared<CommandConfig>(app));
  app.allow_config_extras(CLI::config_extras_mode::capture);
  app.fallthrough();
}

}  // namespace millrace
