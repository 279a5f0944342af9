#include "apps/serve.h"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "apps/chat_source.h"
#include "apps/foreign_options.h"
#include "apps/served.h"
#include "apps/signals.h"
#include "apps/start_table.h"
#include "server/server.h"

namespace millrace {
namespace {

// An address as it stands in a URL.
std::string url_of(const std::string& host, int32_t port) {
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", is_v6 ? "[" + host + "]" : host, port);
}

ServerOptions server_options(const ServeOptions& options) {
  ServerOptions server;
  server.host = options.host;
  server.port = options.port;
  server.model_names = options.served_model_name;
  if (options.seed >= 0) server.seed = static_cast<uint64_t>(options.seed);
  return server;
}

ServedOptions served_options(const ServeOptions& options) {
  ServedOptions served;
  served.compute = options.compute;
  served.vocabulary = options.vocabulary;
  served.limits = options.limits;
  served.max_queue = options.max_queue;
  served.chat_template = options.chat_template;
  if (!options.served_model_name.empty()) served.name = options.served_model_name.front();
  return served;
}

void print_ready(const ServeOptions& options, const Served& served, const std::string& url) {
  fmt::print(
      "{}ready         {}\n\n"
      "curl {}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "  -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is the capital of "
      "France?\"}}]}}'\n",
      start_table(served_options(options), served), url, url);
  std::fflush(stdout);
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
          "--served-model-name,-a,--alias", options.served_model_name,
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
      .add_option("--seed", options.seed,
                  "of requests that bring none; -1: the system's randomness")
      ->group(group);
  command
      .add_option("--shutdown-timeout", options.shutdown_timeout_s,
                  "seconds that running requests may take after the first SIGTERM or Ctrl-C")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S")
      ->group(group);
  bind(command, options.limits);
  bind_foreign_options(command);
}

absl::Status run_serve(const ServeOptions& options) {
  Signals signals;
  Server server(server_options(options));
  RETURN_IF_ERROR(server.start());
  ASSIGN_OR_RETURN(const std::unique_ptr<Served> served, build_served(served_options(options)));
  const ChatTemplate* chat_template = served->chat_template ? &*served->chat_template : nullptr;
  server.set_model({served->generator(), *served->tokenizer, chat_template});
  signals.arm();
  print_ready(options, *served, url_of(options.host, server.port()));
  signals.wait();
  server.begin_drain();
  server.wait_idle(absl::Seconds(options.shutdown_timeout_s));
  server.stop();
  return absl::OkStatus();
}

}  // namespace millrace
