#include "apps/commands/serve.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <absl/strings/ascii.h>
#include <absl/strings/str_replace.h>

#include "apps/input/chat_source.h"
#include "apps/input/generation_config.h"
#include "apps/options/foreign_options.h"
#include "apps/serving/served.h"
#include "apps/serving/signals.h"
#include "apps/serving/start_table.h"
#include "apps/terminal/one_line.h"
#include "base/log.h"
#include "server/server.h"

namespace millrace {
namespace {

// As a shell takes it for one word.
std::string shell_word(std::string_view text) {
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("%+,-./:=@_").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::ranges::all_of(text, is_plain)) return std::string(text);
  return fmt::format("'{}'", absl::StrReplaceAll(to_absl(text), {{"'", "'\\''"}}));
}

// Where clients find the server. One that listens everywhere is also found here.
std::string url_of(const ListenAddress& address, int32_t port) {
  const std::string_view scheme = address.ssl_certificate.empty() ? "http" : "https";
  if (!address.uds.empty()) return fmt::format("{}://localhost", scheme);
  const std::string host = address.host == "0.0.0.0" ? "127.0.0.1"
                           : address.host == "::"    ? "::1"
                                                     : address.host;
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", scheme, is_v6 ? "[" + host + "]" : host, port);
}

// A first request, as a shell takes it. A key is not printed: a variable stands for it.
std::string curl_command(const ServerOptions& options, const std::string& url, bool chats) {
  std::string command = "curl";
  if (!options.address.uds.empty()) {
    command += " --unix-socket " + shell_word(options.address.uds);
  }
  // No authority may have signed the certificate, nor for the name in this address.
  if (!options.address.ssl_certificate.empty()) command += " --insecure";
  command += " " + shell_word(url + (chats ? "/v1/chat/completions" : "/v1/completions"));
  command += " -H 'Content-Type: application/json' \\\n";
  if (!options.access.api_keys.empty()) {
    const bool by_variable = std::getenv(kKeyVariable) != nullptr;
    command +=
        fmt::format("  -H \"Authorization: Bearer ${}\" \\\n", by_variable ? kKeyVariable : "KEY");
  }
  return command + (chats ? R"(  -d '{"messages": [{"role": "user", "content": )"
                            R"("What is the capital of France?"}]}')"
                          : R"(  -d '{"prompt": "The capital of France is"}')");
}

absl::StatusOr<ServerOptions> server_options(const ServeOptions& options) {
  ServerOptions server;
  RETURN_IF_ERROR(options.door.fill(server));
  server.limits = options.clients;
  server.model_names = options.served_model_name;
  server.log_prompts = options.log_prompts;
  if (options.seed >= 0) server.seed = static_cast<uint64_t>(options.seed);
  return server;
}

absl::StatusOr<ServedOptions> served_options(const ServeOptions& options, Observer& observer) {
  ServedOptions served;
  served.observers.push_back(&observer);
  served.compute = options.compute;
  served.vocabulary = options.vocabulary;
  served.limits = options.limits;
  ASSIGN_OR_RETURN(served.speculation, options.speculation.config(options.limits));
  served.max_queue = options.max_queue;
  if (options.max_queue_ms > 0) served.max_queue_age = absl::Milliseconds(options.max_queue_ms);
  served.chat_template = options.chat_template;
  served.generation_config = options.generation_config;
  if (!options.served_model_name.empty()) served.name = options.served_model_name.front();
  return served;
}

void print_ready(const ServedOptions& wanted, const Served& served, const ServerOptions& options,
                 int32_t port) {
  const std::string url = url_of(options.address, port);
  const std::string& uds = options.address.uds;
  fmt::print("{}ready         {}\n\n{}\n", start_table(wanted, served),
             uds.empty() ? url : one_line(uds),
             curl_command(options, url, served.chat_template.has_value()));
  std::fflush(stdout);
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

// What a large request took goes back to the system with it. Left alone, glibc raises these bounds
// with every large allocation that it sees.
void return_large_memory() {
  constexpr int kLarge = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, kLarge);
  mallopt(M_TRIM_THRESHOLD, kLarge);
}

}  // namespace

void bind(CLI::App& command, ServeOptions& options) {
  bind(command, options.compute);
  bind(command, options.vocabulary);
  bind(command, options.door);
  const std::string group = "Serving";
  command
      .add_option(
          "--served-model-name,-a,--alias", options.served_model_name,
          "names that requests may use, the first is the one in answers; default: the file's stem")
      ->check(not_empty())
      ->type_name("NAME")
      ->group(group);
  bind_chat_template(command, options.chat_template);
  bind_generation_config(command, options.generation_config);
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
      ->check(number_within(0, kSecondsMax))
      ->type_name("S")
      ->group(group);
  bind_log(command, options);
  bind(command, options.limits);
  bind(command, options.speculation);
  bind(command, options.clients);
  bind_foreign_options(command);
}

absl::Status run_serve(const ServeOptions& options) {
  return_large_memory();
  set_up_log(spdlog::level::from_str(options.log_level),
             options.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  Signals signals;
  ASSIGN_OR_RETURN(const ServerOptions choices, server_options(options));
  Server server(choices);
  RETURN_IF_ERROR(server.start());
  if (choices.access.api_keys.empty() && !server.is_local()) {
    spdlog::warn("no --api-key: every client that reaches {} is served", choices.address.host);
  }
  signals.remove_at_sudden_end(options.door.uds);
  ASSIGN_OR_RETURN(const ServedOptions wanted, served_options(options, server.observer()));
  ASSIGN_OR_RETURN(const std::unique_ptr<Served> served, build_served(wanted));
  malloc_trim(0);  // the model file's metadata, in small pieces
  const ChatTemplate* chat_template = served->chat_template ? &*served->chat_template : nullptr;
  server.set_model({served->generator(), *served->tokenizer, chat_template, &served->defaults});
  signals.arm();
  print_ready(wanted, *served, choices, server.port());
  signals.wait();
  server.begin_drain();
  server.wait_idle(absl::Seconds(options.shutdown_timeout_s));
  server.stop();
  return absl::OkStatus();
}

}  // namespace millrace
