#include "apps/options/option_names.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include <CLI/CLI.hpp>
#include <absl/strings/ascii.h>
#include <fmt/format.h>

#include "base/status.h"

namespace millrace {
namespace {

// Letters that say enough of a name that begins with them.
constexpr size_t kBeginningMin = 3;

std::string_view without_dashes(std::string_view name) {
  return name.substr(std::min(name.find_first_not_of('-'), name.size()));
}

// Levenshtein's distance (1966), a row at a time.
size_t edits_between(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string variable_of(std::string_view option) {
  std::string name(without_dashes(option));
  for (char& c : name) c = c == '-' ? '_' : absl::ascii_toupper(static_cast<unsigned char>(c));
  return "MILLRACE_" + name;
}

std::string nearest(std::string_view given, const std::vector<std::string>& known) {
  const std::string lower = absl::AsciiStrToLower(to_absl(without_dashes(given)));
  std::string best;
  for (const std::string& name : known) {
    const bool begins = lower.size() >= kBeginningMin && without_dashes(name).starts_with(lower);
    if (begins && (best.empty() || name.size() < best.size())) best = name;
  }
  if (!best.empty()) return best;
  // Two letters that changed places are two edits.
  size_t fewest = std::max(without_dashes(given).size() / 3, size_t{2}) + 1;
  for (const std::string& name : known) {
    const size_t edits = edits_between(without_dashes(given), without_dashes(name));
    if (edits >= fewest || edits >= without_dashes(name).size()) continue;
    fewest = edits;
    best = name;
  }
  return best;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

const CLI::App* typed_command(const CLI::App& app) {
  const auto typed = app.get_subcommands();
  return typed.empty() ? nullptr : typed.front();
}

bool has_command(const CLI::App& app, const std::string& name) {
  return std::ranges::any_of(app.get_subcommands({}),
                             [&](const CLI::App* known) { return known->get_name() == name; });
}

std::string misplaced_option(const CLI::App& app, std::vector<std::string> arguments) {
  if (arguments.empty() || !arguments.front().starts_with('-')) return {};
  const std::string name = arguments.front().substr(0, arguments.front().find('='));
  const std::vector<std::string> of_all = option_names(app);
  if (std::ranges::find(of_all, name) != of_all.end()) return {};
  const auto command = std::ranges::find_if(
      arguments, [&](const std::string& text) { return has_command(app, text); });
  if (command == arguments.end()) {
    return fmt::format("{} stands where a command must; `millrace help` lists the commands", name);
  }
  std::rotate(arguments.begin(), command, command + 1);
  return fmt::format("{} must come behind the command: millrace {}", name,
                     fmt::join(arguments, " "));
}

std::string unexpected_argument(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining(/*recurse=*/true);
  if (left.empty()) return {};
  const CLI::App* command = typed_command(app);
  if (command == nullptr) {
    std::vector<std::string> names;
    for (const CLI::App* known : app.get_subcommands({})) names.push_back(known->get_name());
    const std::string meant = nearest(left.front(), names);
    if (meant.empty() && std::filesystem::exists(left.front())) {
      return fmt::format("{} is no command; `millrace run {}` chats with a model", left.front(),
                         left.front());
    }
    return fmt::format(
        "unknown command {}; {}", left.front(),
        meant.empty() ? "`millrace help` lists the commands" : "did you mean " + meant + "?");
  }
  const std::string in_file = command->get_name() + ".";
  for (const std::string& text : left) {
    const bool is_of_file = text.starts_with(in_file);
    if (!is_of_file && (!text.starts_with('-') || text == "--")) continue;
    const std::string given =
        is_of_file ? "--" + text.substr(in_file.size()) : text.substr(0, text.find('='));
    std::vector<std::string> names = option_names(*command);
    names.emplace_back("--config");
    const std::string meant = nearest(given, names);
    const bool is_yaml = is_of_file && given.find(':') != std::string::npos;
    return fmt::format("unknown option {}{}{}", given, is_of_file ? " in the --config file" : "",
                       is_yaml         ? "; its lines are NAME = VALUE"
                       : meant.empty() ? ""
                                       : "; did you mean " + meant + "?");
  }
  return fmt::format("unexpected argument '{}'", left.front());
}

}  // namespace millrace
