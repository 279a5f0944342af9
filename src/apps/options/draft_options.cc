#include "apps/options/draft_options.h"

#include <cstdint>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "apps/options/options.h"

namespace millrace {
namespace {

std::string in_quotes(const std::string& text) {
  // What is not UTF-8 names no file then.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void add(DraftOptions& options, std::string_view name, std::string_view key,
         const std::string& value) {
  if (options.first_given.empty()) options.first_given = name;
  options.has_method |= key == "method";
  options.members.push_back(fmt::format("\"{}\": {}", key, value));
}

}  // namespace

std::string DraftOptions::as_config() const {
  if (first_given.empty() || is_off) return "";
  std::vector<std::string> all = members;
  if (!has_method) all.emplace_back(R"("method": "draft_model")");
  return fmt::format("{{{}}}", fmt::join(all, ", "));
}

void bind(CLI::App& command, DraftOptions& options) {
  const std::string group = "Speculation";
  const auto text = [&](const std::string& name, const char* more, const char* key,
                        const char* type, const char* help) {
    const auto set = [&options, name, key](const std::string& value) {
      add(options, name, key, in_quotes(value));
    };
    command.add_option_function<std::string>(name + more, set, help)
        ->check(not_empty())
        ->type_name(type)
        ->group(group);
  };
  text("--spec-draft-model", ",--model-draft", "model", "PATH",
       "--speculative-config with the method draft_model; also -md");
  text("--spec-model", "", "model", "PATH", "the same");
  text("--spec-method", "", "method", "METHOD", "its method");
  const auto tokens = [&](const std::string& name, const char* more, const char* key,
                          const char* help) {
    const auto set = [&options, name, key](int64_t value) {
      const bool is_most = key == std::string_view("num_speculative_tokens");
      options.is_off |= is_most && value == 0;
      if (value > 0) add(options, name, key, fmt::to_string(value));
      if (options.is_off && options.first_given.empty()) options.first_given = name;
    };
    command.add_option_function<int64_t>(name + more, set, help)
        ->check(CLI::Range(0, 1024))
        ->type_name("N")
        ->group(group);
  };
  tokens("--spec-draft-n-max", ",--draft-max,--draft-n,--draft", "num_speculative_tokens",
         "its num_speculative_tokens; 0: nothing is drafted");
  tokens("--spec-tokens", "", "num_speculative_tokens", "the same");
  tokens("--spec-draft-n-min", ",--draft-min,--draft-n-min", "min_draft_tokens",
         "its min_draft_tokens");
  const auto set_chance = [&options](double value) {
    if (value > 0) add(options, "--spec-draft-p-min", "draft_p_min", fmt::to_string(value));
  };
  command
      .add_option_function<double>("--spec-draft-p-min,--draft-p-min", set_chance,
                                   "its draft_p_min")
      ->check(number_within(0, 1))
      ->type_name("P")
      ->group(group);
}

}  // namespace millrace
