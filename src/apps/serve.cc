#include "apps/serve.h"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "apps/chat_source.h"
#include "apps/served.h"
#include "apps/signals.h"
#include "base/log.h"
#include "server/server.h"

namespace millrace {
namespace {

std::string mebibytes(int64_t bytes) {
  return fmt::format("{:.0f} MiB", static_cast<double>(bytes) / (1 << 20));
}

// An address as it stands in a URL.
std::string url_of(const std::string& host, int32_t port) {
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", is_v6 ? "[" + host + "]" : host, port);
}

void print_ready(const Served& served, const std::string& url) {
  const ModelCard& card = served.generator().card();
  fmt::print(
      "model         {}\n"
      "instructions  {}, {} threads\n"
      "weights       {}\n"
      "cache         {} tokens, {}\n"
      "context       {} tokens\n"
      "ready         {}\n\n",
      card.id, name_of(served.loaded.isa), served.loaded.lanes->lanes(),
      mebibytes(served.loaded.model->weight_bytes()), served.kv_tokens, mebibytes(served.kv_bytes),
      card.context_max, url);
  fmt::print(
      "curl {}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "  -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is the capital of "
      "France?\"}}]}}'\n",
      url);
  std::fflush(stdout);
}

ServerOptions server_options(const ServeOptions& options) {
  ServerOptions server;
  server.host = options.host;
  server.port = options.port;
  server.model_names = options.served_model_name;
  server.log_prompts = options.log_prompts;
  if (options.seed >= 0) server.seed = static_cast<uint64_t>(options.seed);
  return server;
}

ServedOptions served_options(const ServeOptions& options, Observer& observer) {
  ServedOptions served;
  served.observers.push_back(&observer);
  served.compute = options.compute;
  served.vocabulary = options.vocabulary;
  served.limits = options.limits;
  served.max_queue = options.max_queue;
  if (options.max_queue_ms > 0) served.max_queue_age = absl::Milliseconds(options.max_queue_ms);
  served.chat_template = options.chat_template;
  if (!options.served_model_name.empty()) served.name = options.served_model_name.front();
  return served;
}

void bind_log(CLI::App& command, ServeOptions& options) {
  const std::string group = "Log";
  command.add_option("--log-format", options.log_format, "of the lines on standard error")
      ->check(CLI::IsMember({"text", "json"}))
      ->group(group);
  command.add_option("--log-level", options.log_level, "the least important lines to write")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->group(group);
  command
      .add_flag("--log-prompts", options.log_prompts,
                "write what clients ask, shortened; otherwise no text of theirs is logged")
      ->group(group);
}

}  // namespace

void bind(CLI::App& command, ServeOptions& options) {
  bind(command, options.compute);
  bind(command, options.vocabulary);
  const std::string group = "Serving";
  command.add_option("--host", options.host, "address to listen on")->group(group);
  command.add_option("--port", options.port, "0: any free one, printed at start")
      ->check(CLI::Range(0, 65535))
      ->group(group);
  command
      .add_option(
          "--served-model-name", options.served_model_name,
          "names that requests may use, the first is the one in answers; default: the file's stem")
      ->type_name("NAME")
      ->group(group);
  bind_chat_template(command, options.chat_template);
  command
      .add_option("--max-queue", options.max_queue, "sequences that may wait besides those running")
      ->transform(as_size())
      ->type_name("N")
      ->group(group);
  command
      .add_option("--max-queue-ms", options.max_queue_ms,
                  "milliseconds that a request may wait before it is refused; 0: any time")
      ->check(CLI::NonNegativeNumber)
      ->type_name("MS")
      ->group(group);
  command
      .add_option("--seed", options.seed,
                  "of requests that bring none; -1: the system's randomness")
      ->group(group);
  command
      .add_option("--shutdown-timeout", options.shutdown_timeout_s,
                  "seconds that running requests may take after the first SIGTERM or Ctrl-C")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S")
      ->group(group);
  bind_log(command, options);
  bind(command, options.limits);
}

absl::Status run_serve(const ServeOptions& options) {
  set_up_log(spdlog::level::from_str(options.log_level),
             options.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  Signals signals;
  Server server(server_options(options));
  RETURN_IF_ERROR(server.start());
  ASSIGN_OR_RETURN(const std::unique_ptr<Served> served,
                   build_served(served_options(options, server.observer())));
  const ChatTemplate* chat_template = served->chat_template ? &*served->chat_template : nullptr;
  server.set_model({served->generator(), *served->tokenizer, chat_template});
  signals.arm();
  print_ready(*served, url_of(options.host, server.port()));
  signals.wait();
  server.begin_drain();
  server.wait_idle(absl::Seconds(options.shutdown_timeout_s));
  server.stop();
  return absl::OkStatus();
}

}  // namespace millrace
