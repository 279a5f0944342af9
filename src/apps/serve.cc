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

// Where curl finds the server.
std::string address_of(const DoorOptions& door, int32_t port) {
  const std::string_view scheme = door.ssl_certfile.empty() ? "http" : "https";
  if (!door.uds.empty()) return fmt::format("--unix-socket {} {}://localhost", door.uds, scheme);
  const bool is_v6 = door.host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", scheme, is_v6 ? "[" + door.host + "]" : door.host, port);
}

void print_ready(const Served& served, const std::string& address) {
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
      card.context_max, address);
  fmt::print(
      "curl {}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "  -d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is the capital of "
      "France?\"}}]}}'\n",
      address);
  std::fflush(stdout);
}

absl::StatusOr<ServerOptions> server_options(const ServeOptions& options) {
  ServerOptions server;
  RETURN_IF_ERROR(options.door.fill(server));
  server.limits = options.clients;
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

}  // namespace

void bind(CLI::App& command, ServeOptions& options) {
  bind(command, options.compute);
  bind(command, options.vocabulary);
  bind(command, options.door);
  const std::string group = "Serving";
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
  bind(command, options.clients);
}

absl::Status run_serve(const ServeOptions& options) {
  Signals signals;
  ASSIGN_OR_RETURN(ServerOptions choices, server_options(options));
  const bool open = lets_strangers_in(choices);
  Server server(std::move(choices));
  RETURN_IF_ERROR(server.start());
  if (open) spdlog::warn("no --api-key: whoever reaches {} may ask", options.door.host);
  signals.remove_at_sudden_end(options.door.uds);
  ASSIGN_OR_RETURN(const std::unique_ptr<Served> served, build_served(served_options(options)));
  const ChatTemplate* chat_template = served->chat_template ? &*served->chat_template : nullptr;
  server.set_model({served->generator(), *served->tokenizer, chat_template});
  signals.arm();
  print_ready(*served, address_of(options.door, server.port()));
  signals.wait();
  server.begin_drain();
  server.wait_idle(absl::Seconds(options.shutdown_timeout_s));
  server.stop();
  return absl::OkStatus();
}

}  // namespace millrace
