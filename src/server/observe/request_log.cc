#include "server/observe/request_log.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "server/http/json_text.h"

namespace millrace {
namespace {

// Of methods and paths without a route, which may be as long as a head.
constexpr size_t kMethodBytesMax = 20;
constexpr size_t kLoggedPathBytesMax = 200;
constexpr size_t kPromptTokensMax = 500;  // of a prompt
constexpr size_t kPromptBytesMax = 2000;
constexpr size_t kUnknownNamesMax = 16;  // of one request
constexpr size_t kUnknownBytesMax = 64;  // of one name

// Characters that would end a value or let it look like another are escaped.
std::string text_value(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string escaped = escape_for_log(value.get_ref<const std::string&>());
  if (!escaped.empty() && escaped.find_first_of(" \"=") == std::string::npos) return escaped;
  std::string quoted = "\"";
  for (const char c : escaped) quoted += c == '"' ? std::string("\\x22") : std::string(1, c);
  return quoted + '"';
}

void log_event(std::string_view event, const Json& members,
               spdlog::level::level_enum level = spdlog::level::info) {
  std::string line;
  if (log_format() == LogFormat::kJson) {
    Json object;
    object["event"] = event;
    object.update(members);
    // In ASCII, with U+FFFD for what is not UTF-8.
    line = object.dump(-1, ' ', true, Json::error_handler_t::replace);
    line = line.substr(1, line.size() - 2);
  } else {
    line = event;
    for (const auto& [name, value] : members.items()) {
      line += fmt::format(" {}={}", name, text_value(value));
    }
  }
  log_line(level, line);
}

// To tenths.
double rounded(double value) { return std::round(value * 10) / 10; }

void add_span(Json& members, const char* name, Instant from, Instant to) {
  const auto happened = [](Instant time) {
    return time != Instant::infinite_past() && time != Instant::infinite_future();
  };
  if (happened(from) && happened(to)) {
    members[name] = rounded(absl::ToDoubleMilliseconds(to - from));
  }
}

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kAbort:
      return "abort";
    case FinishReason::kError:
      return "error";
  }
  return "none";
}

void add_generation(Json& members, const GenerationReport& report) {
  const auto& [usage, times, choices, error, reason] = report;
  members["prompt_tokens"] = usage.prompt_tokens;
  members["cached_tokens"] = usage.cached_tokens;
  members["generated_tokens"] = usage.generated_tokens;
  add_span(members, "queue_ms", times.arrived, times.started);
  add_span(members, "prefill_ms", times.started, times.first_token);
  add_span(members, "decode_ms", times.first_token, times.finished);
  // Over the decoding, which begins when each choice has its first token.
  const int64_t decoded = usage.generated_tokens - choices;
  const double decode_s = absl::ToDoubleSeconds(times.finished - times.first_token);
  if (decoded > 0 && decode_s > 0 && std::isfinite(decode_s)) {
    members["tokens_per_second"] = rounded(static_cast<double>(decoded) / decode_s);
  }
  members["finish_reason"] = name_of(reason);
  if (!error.empty()) members["error"] = error;
}

}  // namespace

void log_request(const RequestRecord& record) {
  Json members;
  members["id"] = record.id;
  members["method"] = record.method.substr(0, kMethodBytesMax);
  members["path"] = record.path.substr(0, kLoggedPathBytesMax);
  members["status"] = record.status;
  members["bytes"] = record.bytes;
  members["ms"] = rounded(std::chrono::duration<double, std::milli>(record.took).count());
  if (record.generation) add_generation(members, *record.generation);
  log_event("request", members);
}

void log_unknown(std::string_view id, std::span<const std::string_view> names) {
  std::string listed;
  for (const std::string_view name : names.first(std::min(names.size(), kUnknownNamesMax))) {
    append_element(name.substr(0, kUnknownBytesMax), listed);
  }
  Json members;
  members["id"] = id;
  members["fields"] = std::ssize(names);
  members["names"] = listed;
  log_event("ignored", members, spdlog::level::debug);
}

void log_prompt(std::string_view id, std::span<const TokenId> tokens, const Tokenizer& tokenizer) {
  std::string text = tokenizer.decode(tokens.first(std::min(tokens.size(), kPromptTokensMax)),
                                      {.skip_special = false});
  const bool is_whole = tokens.size() <= kPromptTokensMax && text.size() <= kPromptBytesMax;
  if (!is_whole) text = text.substr(0, kPromptBytesMax) + "...";
  Json members;
  members["id"] = id;
  members["tokens"] = std::ssize(tokens);
  members["text"] = text;
  log_event("prompt", members);
}

}  // namespace millrace
