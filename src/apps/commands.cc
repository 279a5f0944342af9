#include "apps/commands.h"

#include <cstdio>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "apps/commands/bench/bench.h"
#include "apps/commands/convert.h"
#include "apps/commands/detokenize.h"
#include "apps/commands/eval.h"
#include "apps/commands/inspect.h"
#include "apps/commands/render.h"
#include "apps/commands/run.h"
#include "apps/commands/serve.h"
#include "apps/commands/tokenize.h"
#include "apps/terminal/one_line.h"
#include "apps/terminal/output.h"

namespace millrace {
namespace {

// 2: what the user gave is at fault; 1: the machine or this program is.
int exit_code_of(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return 2;
    default:
      return 1;
  }
}

// One line, but where a template fails: then what stands there follows.
void print_failure(std::string_view message) {
  std::string_view before = "millrace: ";
  while (!message.empty()) {
    const std::string_view line = message.substr(0, message.find('\n'));
    tell(fmt::format("{}{}\n", before, one_line(line)));
    message.remove_prefix(std::min(line.size() + 1, message.size()));
    before = "";
  }
}

template <typename Options>
void add_command(CLI::App& app, int& exit_code, const char* name, const char* help,
                 absl::Status (*run)(const Options&)) {
  CLI::App* command = app.add_subcommand(name, help);
  auto options = std::make_shared<Options>();
  command->option_defaults()->always_capture_default();
  bind(*command, *options);
  command->footer(
      "An option can also be set by an environment variable, MILLRACE_MAX_NUM_SEQS for\n"
      "--max-num-seqs and so on, or by its name in a TOML or INI file that --config FILE names.\n"
      "The command line wins over the environment, and the environment over the file.");
  command->callback([options, run, &exit_code] {
    const absl::Status status = run(*options);
    if (!status.ok()) print_failure(message_of(status));
    exit_code = exit_code_of(status);
  });
}

}  // namespace

void add_commands(CLI::App& app, int& exit_code) {
  add_command<RunOptions>(app, exit_code, "run", "answer a prompt, or chat", run_run);
  add_command<ServeOptions>(app, exit_code, "serve", "serve OpenAI's API over HTTP", run_serve);
  add_command<InspectOptions>(app, exit_code, "inspect", "what a model file holds and needs",
                              [](const InspectOptions& o) { return run_inspect(o, stdout); });
  add_command<ConvertOptions>(app, exit_code, "convert", "a GGUF file of a Hugging Face folder",
                              run_convert);
  add_command<TokenizeOptions>(
      app, exit_code, "tokenize", "text to token ids",
      [](const TokenizeOptions& o) { return run_tokenize(o, stdin, stdout); });
  add_command<DetokenizeOptions>(
      app, exit_code, "detokenize", "token ids to text",
      [](const DetokenizeOptions& o) { return run_detokenize(o, stdin, stdout); });
  add_command<RenderOptions>(app, exit_code, "render", "what a conversation becomes",
                             [](const RenderOptions& o) { return run_render(o, stdin, stdout); });
  add_command<BenchOptions>(app, exit_code, "bench", "measure prompt, generation and batched speed",
                            [](const BenchOptions& o) { return run_bench(o, stdout); });
  add_command<EvalOptions>(app, exit_code, "eval",
                           "perplexity of a text, or logits of given tokens",
                           [](const EvalOptions& o) { return run_eval(o, stdout); });
}

}  // namespace millrace
