#include "apps/commands/run.h"

#include <iostream>
#include <iterator>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/input/chat_source.h"
#include "apps/serving/served.h"
#include "apps/serving/session.h"
#include "apps/terminal/chat_loop.h"
#include "apps/terminal/interrupt.h"

namespace millrace {
namespace {

std::string rest_of_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

absl::StatusOr<std::unique_ptr<Served>> build_shielded(const ServedOptions& options) {
  const InterruptShield shield;
  return build_served(options);
}

absl::Status answer_once(Session& session, const RunOptions& options, const std::string& prompt) {
  if (options.raw) {
    RETURN_IF_ERROR(session.complete(prompt).status());
  } else {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    if (!options.system.empty()) {
      messages.push_back({{"role", "system"}, {"content", options.system}});
    }
    messages.push_back({{"role", "user"}, {"content", prompt}});
    RETURN_IF_ERROR(session.reply(messages).status());
  }
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\x1b[2m[{}]\x1b[0m\n", session.timings());
  return absl::OkStatus();
}

}  // namespace

void bind(CLI::App& command, RunOptions& options) {
  bind(command, options.compute);
  bind(command, options.vocabulary);
  command
      .add_option(
          "prompt", options.prompt,
          "what to answer; '-' reads all of standard input; without it: a chat, one message a line")
      ->type_name("TEXT");
  const std::string group = "Answering";
  command.add_flag("--raw", options.raw, "no chat template: continue the prompt as it is")
      ->group(group);
  command.add_option("--system", options.system, "what the model is told first")
      ->type_name("TEXT")
      ->group(group);
  bind_chat_template(command, options.chat_template);
  command
      .add_option("--max-tokens,-n", options.max_tokens,
                  "longest answer; 0: the rest of the context")
      ->transform(as_size())
      ->type_name("N")
      ->group(group);
  command.add_option("--temperature", options.temperature, "0: always the likeliest token")
      ->check(number_within(0, 100))
      ->group(group);
  command.add_option("--top-k", options.top_k, "keep the k likeliest; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command.add_option("--top-p", options.top_p, "keep the likeliest up to this probability")
      ->check(number_within(0, 1))
      ->group(group);
  command
      .add_option("--min-p", options.min_p,
                  "drop what is less likely than this part of the likeliest")
      ->check(number_within(0, 1))
      ->group(group);
  command.add_option("--repeat-penalty", options.repeat_penalty, "1: none")
      ->check(number_within(0.001, 1000))
      ->group(group);
  command
      .add_option("--seed", options.seed, "of the random numbers; -1: a new one for each answer")
      ->group(group);
  bind(command, options.limits);
}

absl::Status run_run(const RunOptions& options) {
  ServedOptions served_options;
  served_options.compute = options.compute;
  served_options.vocabulary = options.vocabulary;
  served_options.limits = options.limits;
  served_options.chat_template = options.chat_template;
  ASSIGN_OR_RETURN(const std::unique_ptr<Served> served, build_shielded(served_options));
  Session session(*served, options);
  if (options.prompt.empty() && !options.raw) return chat_loop(session, options);
  const bool from_input = options.prompt.empty() || options.prompt == "-";
  return answer_once(session, options, from_input ? rest_of_input() : options.prompt);
}

}  // namespace millrace
