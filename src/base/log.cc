#include "base/log.h"

#include <atomic>
#include <iterator>
#include <memory>
#include <poll.h>
#include <unistd.h>

#include <absl/time/time.h>
#include <spdlog/sinks/stdout_color_sinks.h>

namespace millrace {
namespace {

constexpr const char* kName = "millrace";
constexpr const char* kLinesName = "millrace.lines";  // what log_line() logs
constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v";

std::atomic<LogFormat> chosen_format = LogFormat::kText;

std::string json_escape(std::string_view text) {
  std::string escaped;
  for (const char c : escape_for_log(text)) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string_view level(spdlog::level::to_string_view(message.level).data());
    const std::string_view text(message.payload.data(), message.payload.size());
    const absl::Time time = absl::FromChrono(message.time);
    fmt::format_to(std::back_inserter(out), R"({{"time":"{}","level":"{}",)",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone()), level);
    if (std::string_view(message.logger_name.data(), message.logger_name.size()) == kLinesName) {
      fmt::format_to(std::back_inserter(out), "{}}}\n", text);
    } else {
      fmt::format_to(std::back_inserter(out), "\"message\":\"{}\"}}\n", json_escape(text));
    }
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// No line is longer than a pipe has room for once it has any, so none blocks.
class PatientSink final : public spdlog::sinks::stderr_color_sink_mt {
  using Plain = spdlog::sinks::stderr_color_sink_mt;

 public:
  void log(const spdlog::details::log_msg& message) override {
    pollfd output = {STDERR_FILENO, POLLOUT, 0};
    if (poll(&output, 1, 0) == 0) {
      ++dropped_;
      return;
    }
    if (const int64_t dropped = dropped_.exchange(0); dropped > 0) {
      const std::string text = fmt::format("{} log lines found no room and were dropped", dropped);
      Plain::log({kName, spdlog::level::warn, text});
    }
    Plain::log(message);
  }

 private:
  std::atomic<int64_t> dropped_ = 0;
};

}  // namespace

void set_up_log(spdlog::level::level_enum level, LogFormat format) {
  auto sink = std::make_shared<PatientSink>();
  chosen_format = format;
  spdlog::drop_all();
  auto logger = std::make_shared<spdlog::logger>(kName, sink);
  auto lines = std::make_shared<spdlog::logger>(kLinesName, sink);
  for (const auto& each : {logger, lines}) each->set_level(level);
  if (format == LogFormat::kJson) {
    sink->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    sink->set_pattern(kTextPattern);
  }
  spdlog::register_logger(std::move(lines));
  spdlog::set_default_logger(std::move(logger));
}

LogFormat log_format() { return chosen_format; }

void log_line(spdlog::level::level_enum level, std::string_view line) {
  if (const auto lines = spdlog::get(kLinesName)) lines->log(level, line);
}

std::string escape_for_log(std::string_view text) {
  constexpr unsigned char kFirstPrintable = 0x20;
  constexpr unsigned char kLastPrintable = 0x7e;
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < kFirstPrintable || byte > kLastPrintable || c == '\\') {
      escaped += fmt::format("\\x{:02x}", byte);
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace millrace
