#include "apps/options/serving_options.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include <CLI/CLI.hpp>
#include <absl/strings/ascii.h>

#include "apps/input/input_text.h"
#include "apps/options/options.h"

namespace millrace {
namespace {

// Refused when it is empty, as kKeyVariable is: that would let everyone in.
constexpr const char* kKeyFileVariable = "MILLRACE_API_KEY_FILE";
constexpr size_t kKeyBytesMax = 1000;
constexpr size_t kFileBytesMax = size_t{1} << 20;
constexpr int64_t kSizeMax = int64_t{1} << 40;  // sums of some cannot overflow

// `source` instead of the key itself, which is never printed.
absl::Status add_key(std::string_view key, std::string_view source,
                     std::vector<std::string>& keys) {
  const auto is_visible = [](char c) { return c > ' ' && c <= '~'; };
  if (key.empty() || key.size() > kKeyBytesMax || !std::ranges::all_of(key, is_visible)) {
    return invalid_argument("{} must be 1 to {} visible ASCII characters", source, kKeyBytesMax);
  }
  keys.emplace_back(key);
  return absl::OkStatus();
}

absl::Status add_keys_of_file(const std::string& path, std::vector<std::string>& keys) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kFileBytesMax));
  const size_t before = keys.size();
  std::string_view rest = text;
  for (int line = 1; !rest.empty(); ++line) {
    std::string_view key = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(key.size() + 1, rest.size()));
    if (key.ends_with('\r')) key.remove_suffix(1);
    if (key.empty() || key.starts_with('#')) continue;
    RETURN_IF_ERROR(add_key(key, fmt::format("the key in line {} of {}", line, path), keys));
  }
  if (keys.size() == before) return invalid_argument("{} holds no key", path);
  return absl::OkStatus();
}

// As browsers write them: no path, not even a slash.
absl::Status check_origin(std::string_view origin) {
  if (origin == "*" || origin == "null") return absl::OkStatus();
  const size_t host = origin.find("://");
  const auto is_plain = [](char c) { return c > ' ' && c <= '~' && c != '"' && c != ','; };
  if (host == std::string_view::npos || host == 0 || host + 3 == origin.size() ||
      origin.find('/', host + 3) != std::string_view::npos ||
      !std::ranges::all_of(origin, is_plain)) {
    return invalid_argument("--allowed-origins takes * or origins such as https://example.org");
  }
  return absl::OkStatus();
}

// As --host takes an address of IPv6: in the brackets of a URL, or without.
std::string without_brackets(std::string host) {
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

// A name alone: a port, a scheme or a pattern would never be equal to one.
absl::Status check_host(std::string_view host) {
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
  };
  const bool is_v6 = host.find(':') != host.rfind(':');
  if (host == "*" || is_v6) return absl::OkStatus();
  if (host.empty() || !std::ranges::all_of(host, is_plain)) {
    return invalid_argument("--allowed-hosts takes * or names without a port, such as example.org");
  }
  return absl::OkStatus();
}

}  // namespace

void bind(CLI::App& command, ServerLimits& limits) {
  const std::string group = "Limits of clients (sizes may be given as 4k or 2M)";
  const auto size = [&](const char* name, auto& value, int64_t min, const char* help) {
    constexpr int64_t kMax = std::numeric_limits<std::remove_reference_t<decltype(value)>>::max();
    command.add_option(name, value, help)
        ->transform(as_size(min, std::min(kMax, kSizeMax)))
        ->type_name("N")
        ->group(group);
  };
  const auto seconds = [&](const char* name, absl::Duration& value, const char* help) {
    const auto set = [&value](double s) { value = absl::Seconds(s); };
    command.add_option_function<double>(name, set, help)
        ->check(number_within(0.001, kSecondsMax))
        ->default_str(fmt::to_string(absl::ToDoubleSeconds(value)))
        ->type_name("S")
        ->group(group);
  };
  size("--max-connections", limits.connections, 1,
       "when they are used up, one that asks nothing makes room; if all ask, 503");
  size("--max-requests-per-connection", limits.connection_requests, 1, "then it is closed");
  size("--max-header-bytes", limits.header_bytes, 256, "of a request's head; more is 431");
  size("--max-headers", limits.header_count, 1, "more is 431");
  size("--max-body-bytes", limits.body_bytes, 1, "more is 413");
  size("--max-input-bytes", limits.input_bytes, 0,
       "of all requests held at once, besides 128 KiB for each connection; a large one beyond gets "
       "503");
  seconds("--header-timeout", limits.head_timeout, "seconds for a request's head, then 408");
  seconds("--body-timeout", limits.body_timeout, "seconds for its body, then 408");
  seconds("--idle-timeout", limits.idle_timeout, "seconds between requests of a connection");
  seconds("--stall-timeout", limits.stall_timeout,
          "seconds until a client that does not read is let go");
  seconds("--ping-interval,--sse-ping-interval", limits.ping_interval,
          "seconds of silence after which a stream gets a comment");
  size("--max-pending-bytes", limits.pending_bytes, 1024,
       "of an answer, computed and not yet sent; then it ends");
  command.add_option("--max-json-depth", limits.json_depth, "levels of a request body")
      ->check(CLI::Range(2, 512))
      ->type_name("N")
      ->group(group);
  size("--max-json-keys", limits.json_keys, 1, "keys of one object");
  size("--max-choices", limits.choices, 1, "of one request: prompts times n");
  size("--max-request-tokens", limits.tokens, 1,
       "of one request: its prompts, and n times max_tokens for each");
  size("--max-answer-bytes", limits.answer_bytes, 1024,
       "of one answer: log-probabilities, about 96 each, prompts repeated, tokens of /tokenize");
  size("--max-logprobs", limits.logprobs, 0, "likeliest tokens told for each token");
  size("--max-stops", limits.stops, 0, "stop strings");
  size("--max-stop-bytes", limits.stop_bytes, 1, "of one stop string");
  size("--max-stop-tokens", limits.stop_tokens, 0, "stop_token_ids");
  size("--max-bad-word-bytes", limits.bad_word_bytes, 0, "of all bad words");
  size("--max-logit-bias", limits.biases, 0, "entries");
}

void bind(CLI::App& command, DoorOptions& door) {
  const std::string group = "Serving";
  command
      .add_option("--host", door.host, "address or name to listen on, all addresses that it has")
      ->check(not_empty())
      ->group(group);
  command.add_option("--port", door.port, "0: any free one, printed at start")
      ->check(CLI::Range(0, 65535))
      ->group(group);
  command
      .add_option("--uds", door.uds,
                  "Unix socket to listen on instead, mode 0600; removed at the end")
      ->check(not_empty())
      ->type_name("PATH")
      ->group(group);
  command
      .add_option("--threads-http", door.threads,
                  "threads that read requests, render templates and tokenise")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->group(group);
  auto* certificate = command
                          .add_option("--ssl-certfile,--ssl-cert-file", door.ssl_certfile,
                                      "certificate chain for TLS, PEM")
                          ->check(not_empty())
                          ->type_name("FILE")
                          ->group(group);
  auto* key =
      command.add_option("--ssl-keyfile,--ssl-key-file", door.ssl_keyfile, "its private key, PEM")
          ->check(not_empty())
          ->type_name("FILE")
          ->group(group);
  certificate->needs(key);
  key->needs(certificate);

  const std::string access = "Who may ask";
  command
      .add_option(
          "--api-key", door.access.api_keys,
          "needed for all but /health, /ready and /ping; may be given several times. Others can "
          "see a command line: a file or the variable is safer, and adds to these")
      ->allow_extra_args(false)
      ->type_name("KEY")
      ->group(access);
  command.add_option("--api-key-file", door.api_key_file, "more keys, one a line; # for comments")
      ->check(not_empty())
      ->type_name("FILE")
      ->group(access);
  command.add_flag("--open-metrics", door.access.open_metrics, "/metrics needs no key")
      ->group(access);
  command
      .add_flag("--shared-prefix-cache", door.access.shared_prefix_cache,
                "keys share cached prompts, and can tell by the time what others asked")
      ->group(access);
  command
      .add_option("--allowed-origins", door.access.allowed_origins,
                  "other sites whose pages may ask from a browser; * for all")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("ORIGIN,...")
      ->group(access);
  command
      .add_option("--allowed-hosts", door.access.allowed_hosts,
                  "names of this server in Host headers besides the local ones; * for any. Without "
                  "it any is served, but on a loopback address without a key: only local ones")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...")
      ->group(access);
}

absl::Status DoorOptions::fill(ServerOptions& server) const {
  ListenAddress& address = server.address;
  address.host = without_brackets(host);
  address.port = port;
  address.uds = uds;
  server.threads = threads;
  if (!ssl_certfile.empty()) {
    ASSIGN_OR_RETURN(address.ssl_certificate, read_file(ssl_certfile, kFileBytesMax));
    ASSIGN_OR_RETURN(address.ssl_key, read_file(ssl_keyfile, kFileBytesMax));
    if (address.ssl_certificate.empty()) return invalid_argument("{} is empty", ssl_certfile);
  }
  server.access = access;
  server.access.api_keys.clear();
  for (const std::string& key : access.api_keys) {
    RETURN_IF_ERROR(add_key(key, "an --api-key", server.access.api_keys));
  }
  const char* key = std::getenv(kKeyVariable);
  if (key != nullptr && std::ranges::find(access.api_keys, key) == access.api_keys.end()) {
    RETURN_IF_ERROR(add_key(key, kKeyVariable, server.access.api_keys));
  }
  const char* file = std::getenv(kKeyFileVariable);
  if (file != nullptr && *file == '\0') {
    return invalid_argument("{} is set and empty", kKeyFileVariable);
  }
  if (!api_key_file.empty()) {
    RETURN_IF_ERROR(add_keys_of_file(api_key_file, server.access.api_keys));
  }
  for (const std::string& origin : access.allowed_origins) RETURN_IF_ERROR(check_origin(origin));
  for (std::string& name : server.access.allowed_hosts) {
    name = without_brackets(name);
    RETURN_IF_ERROR(check_host(name));
  }
  return absl::OkStatus();
}

}  // namespace millrace
