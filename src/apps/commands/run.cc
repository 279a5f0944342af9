#include "apps/commands/run.h"

#include <filesystem>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/input/chat_source.h"
#include "apps/input/generation_config.h"
#include "apps/input/input_text.h"
#include "apps/serving/served.h"
#include "apps/serving/session.h"
#include "apps/terminal/chat_loop.h"
#include "apps/terminal/output.h"

namespace millrace {
namespace {

// Text is piped or redirected; a terminal and /dev/null are neither.
bool input_has_text() {
  struct stat info = {};
  return ::fstat(STDIN_FILENO, &info) == 0 && !S_ISCHR(info.st_mode);
}

// A pipe that is open and silent may be one that the calling program left open.
void explain_waiting() {
  constexpr int kPatienceMs = 3000;
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  if (::poll(&input, 1, kPatienceMs) != 0) return;
  tell("millrace: waiting for the end of standard input; </dev/null says that there is none\n");
}

absl::StatusOr<std::string> prompt_of(const RunOptions& options) {
  if (options.prompt.empty() || options.prompt == "-") {
    ASSIGN_OR_RETURN(std::string piped, read_stream(stdin));
    if (piped.empty()) return invalid_argument("the prompt is empty: nothing came in");
    return piped;
  }
  if (!input_has_text()) return options.prompt;
  explain_waiting();
  ASSIGN_OR_RETURN(const std::string piped, read_stream(stdin));
  return piped.empty() ? options.prompt : options.prompt + "\n\n" + piped;
}

// -1, or a length.
CLI::Validator answer_length() {
  const auto read = [](std::string& text) -> std::string {
    if (text == "-1") return {};
    std::string size = text;
    if (!as_size(1)(size).empty()) {
      return fmt::format(
          "{} is no length of an answer: N tokens, or -1 for the rest of the context", text);
    }
    text = size;
    return {};
  };
  return CLI::Validator(read, "");
}

absl::Status explain(absl::Status status, const RunOptions& options) {
  const bool is_swapped = absl::IsNotFound(status) && std::filesystem::exists(options.prompt) &&
                          !std::filesystem::exists(options.compute.model);
  if (!is_swapped) return status;
  return not_found("cannot open '{}'; the model comes before the prompt: millrace run {} \"{}\"",
                   options.compute.model, options.prompt, options.compute.model);
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

absl::Status use(Served& served, const RunOptions& options) {
  if (options.prompt.empty() && !options.raw) return chat_loop(served, options);
  Session session(served, options);
  ASSIGN_OR_RETURN(const std::string prompt, prompt_of(options));
  return answer_once(session, options, prompt);
}

void bind_sampling(CLI::App& command, RunOptions& options, const std::string& group) {
  command.add_option("--temperature", options.temperature, "0: always the likeliest token")
      ->check(number_within(0, 100))
      ->default_str(fmt::to_string(kUsualSampling.temperature))
      ->group(group);
  command.add_option("--top-k", options.top_k, "keep the k likeliest; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->default_str(fmt::to_string(kUsualSampling.top_k))
      ->group(group);
  command.add_option("--top-p", options.top_p, "keep the likeliest up to this probability")
      ->check(number_within(0, 1))
      ->default_str(fmt::to_string(kUsualSampling.top_p))
      ->group(group);
  command
      .add_option("--min-p", options.min_p,
                  "drop what is less likely than this part of the likeliest")
      ->check(number_within(0, 1))
      ->default_str(fmt::to_string(kUsualSampling.min_p))
      ->group(group);
  command.add_option("--repeat-penalty", options.repeat_penalty, "1: none")
      ->check(number_within(0.001, 1000))
      ->default_str(fmt::to_string(kUsualSampling.repetition))
      ->group(group);
}

}  // namespace

void bind(CLI::App& command, RunOptions& options) {
  bind(command, options.compute);
  bind(command, options.vocabulary);
  command
      .add_option(
          "prompt", options.prompt,
          "what to answer, and behind it, after an empty line, what is piped in; '-': only that; "
          "without it: a chat, of a pipe one message a line")
      ->type_name("TEXT")
      ->check(not_empty());
  const std::string group = "Answering";
  command.add_flag("--raw", options.raw, "no chat template: continue the prompt as it is")
      ->group(group);
  command.add_option("--system", options.system, "what the model is told first")
      ->type_name("TEXT")
      ->group(group);
  bind_chat_template(command, options.chat_template);
  command
      .add_option("--max-tokens,-n", options.max_tokens,
                  "longest answer in tokens; -1: the rest of the context")
      ->transform(answer_length())
      ->type_name("N")
      ->group(group);
  bind_sampling(command, options, group);
  bind_generation_config(command, options.generation_config);
  command
      .add_option("--seed", options.seed, "of the random numbers; -1: a new one for each answer")
      ->group(group);
  bind(command, options.limits);
  bind(command, options.speculation);
}

absl::Status run_run(const RunOptions& options) {
  ServedOptions served_options;
  served_options.compute = options.compute;
  served_options.vocabulary = options.vocabulary;
  served_options.limits = options.limits;
  ASSIGN_OR_RETURN(served_options.speculation, options.speculation.config(options.limits));
  served_options.chat_template = options.chat_template;
  served_options.generation_config = options.generation_config;
  absl::StatusOr<std::unique_ptr<Served>> served = build_served(served_options);
  if (!served.ok()) return explain(served.status(), options);
  RETURN_IF_ERROR(use(**served, options));
  (*served)->loaded.model->await_pack();
  return absl::OkStatus();
}

}  // namespace millrace
