#include "server/http/http_writer.h"

#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <fmt/format.h>

namespace millrace {
namespace {

constexpr int kNoContent = 204;  // has neither type nor length

std::string_view phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "";
  }
}

// RFC 9110, section 5.6.7. Made once a second.
const std::string& date_now() {
  thread_local int64_t second = 0;
  thread_local std::string text;
  const absl::Time now = absl::Now();
  if (const int64_t this_second = absl::ToUnixSeconds(now); this_second != second) {
    second = this_second;
    text = absl::FormatTime("%a, %d %b %E4Y %H:%M:%S GMT", now, absl::UTCTimeZone());
  }
  return text;
}

// Without control characters, so that it stays one line.
std::string header_value(std::string_view value) {
  std::string line(value);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20U || c == 0x7f) c = ' ';
  }
  return line;
}

std::string head(int status, std::string_view content_type, const HttpFraming& framing) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", status, phrase(status), date_now());
  if (status != kNoContent) head += fmt::format("Content-Type: {}\r\n", header_value(content_type));
  head += fmt::format("X-Request-Id: {}\r\n", header_value(framing.request_id));
  head += framing.origin_lines;
  if (framing.close) {
    head += "Connection: close\r\n";
  } else if (framing.old) {
    head += "Connection: keep-alive\r\n";
  }
  // A client that knows the timeout opens another connection before this one is closed.
  const bool says_timeout = !framing.close && framing.idle_seconds > 0;
  if (says_timeout) head += fmt::format("Keep-Alive: timeout={}\r\n", framing.idle_seconds);
  return head;
}

}  // namespace

std::string http_bytes(const HttpResponse& response, const HttpFraming& framing) {
  std::string bytes = head(response.status, response.content_type, framing);
  for (const auto& [name, value] : response.headers) {
    bytes += fmt::format("{}: {}\r\n", name, header_value(value));
  }
  if (response.status == kNoContent) return bytes + "\r\n";
  bytes += fmt::format("Content-Length: {}\r\n\r\n", response.body.size());
  if (!framing.head_only) bytes += response.body;
  return bytes;
}

std::string event_stream_head(const HttpFraming& framing) {
  std::string bytes = head(200, "text/event-stream; charset=utf-8", framing);
  bytes += "Cache-Control: no-cache\r\n";
  bytes += "X-Accel-Buffering: no\r\n";  // nginx would gather a stream's events
  if (!framing.old) bytes += "Transfer-Encoding: chunked\r\n";
  return bytes + "\r\n";
}

std::string http_chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

}  // namespace millrace
