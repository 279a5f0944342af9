#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "server/answer/event_text.h"
#include "server/http/api_error.h"
#include "server/http/http_writer.h"
#include "server/http/json_text.h"

namespace millrace {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Parsed {
  int status = 0;
  Headers headers;
  std::string body;
};

std::string_view take_line(std::string_view& bytes) {
  const size_t end = bytes.find("\r\n");
  CHECK(end != std::string_view::npos, "a line without an end");
  const std::string_view line = bytes.substr(0, end);
  CHECK(line.find_first_of("\r\n") == std::string_view::npos, "half a line's end");
  bytes.remove_prefix(end + 2);
  return line;
}

Parsed parse(std::string_view bytes) {
  Parsed parsed;
  const std::string_view first = take_line(bytes);
  CHECK(first.starts_with("HTTP/1.1 ") && first.size() > 12, "a status line");
  std::from_chars(first.data() + 9, first.data() + 12, parsed.status);
  while (true) {
    const std::string_view line = take_line(bytes);
    if (line.empty()) break;
    const size_t colon = line.find(": ");
    CHECK(colon != std::string_view::npos, "a header without a value");
    parsed.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  parsed.body = std::string(bytes);
  return parsed;
}

std::string unchunked(std::string_view bytes) {
  std::string body;
  while (true) {
    const std::string_view line = take_line(bytes);
    size_t size = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
    CHECK(error == std::errc() && end == line.data() + line.size(), "a chunk's size");
    body += bytes.substr(0, size);
    bytes.remove_prefix(size);
    CHECK(take_line(bytes).empty(), "a chunk's end");
    if (size == 0) break;
  }
  CHECK(bytes.empty(), "bytes after the last chunk");
  return body;
}

// As the standard of server-sent events reads them: fields by line, an event at each empty line.
std::vector<std::string> events_in(std::string_view body) {
  std::vector<std::string> events;
  std::string data;
  bool any = false;
  while (!body.empty()) {
    const size_t end = body.find_first_of("\r\n");
    CHECK(end != std::string_view::npos && body[end] == '\n', "an event's line ends otherwise");
    const std::string_view line = body.substr(0, end);
    body.remove_prefix(end + 1);
    if (line.empty()) {
      if (any) events.push_back(std::exchange(data, {}));
      any = false;
    } else if (!line.starts_with(':')) {
      CHECK(line.starts_with("data: ") && !any, "an event of more than one line");
      data = std::string(line.substr(6));
      any = true;
    }
  }
  CHECK(!any, "an event without an end");
  return events;
}

void check_response(std::string_view id, std::string_view value, std::string_view text, int status,
                    bool close) {
  HttpResponse response;
  response.status = status;
  response.body = std::string(text);
  response.headers.emplace_back("X-Value", std::string(value));
  const Parsed parsed = parse(http_bytes(response, {.request_id = id, .close = close}));
  CHECK(parsed.status == status && parsed.body == text, "an answer changes on its way");
  response.headers.back().second = "plain";
  const Parsed plain = parse(http_bytes(response, {.request_id = "plain", .close = close}));
  CHECK(parsed.headers.size() == plain.headers.size(), "headers come in through a value");
  CHECK(parsed.headers.back() ==
            std::pair(std::string("Content-Length"), std::to_string(text.size())),
        "a length");
}

void check_stream(std::string_view id, const std::vector<std::string>& texts) {
  std::string bytes = event_stream_head({.request_id = id});
  std::vector<std::string> sent;
  for (const std::string& text : texts) {
    Json json;
    json["text"] = text;
    sent.push_back(json_text(json));
    bytes += http_chunk(event_text(sent.back()));
    bytes += http_chunk(kPing);
  }
  sent.push_back(error_json(at_field(id, invalid_argument("{}", texts.back()))));
  bytes += http_chunk(event_text(sent.back()));
  bytes += kLastChunk;
  const Parsed parsed = parse(bytes);
  const Parsed plain = parse(event_stream_head({.request_id = "plain"}));
  CHECK(parsed.headers.size() == plain.headers.size(), "headers come in through an id");
  CHECK(events_in(unchunked(parsed.body)) == sent, "events change on their way");
}

// Input: a byte of flags, then an id, a header's value and texts, with 0 between them.
void run(std::string_view input) {
  if (input.empty()) return;
  const auto flags = static_cast<uint8_t>(input.front());
  input.remove_prefix(1);
  std::vector<std::string> texts;
  while (true) {
    const size_t end = input.find('\0');
    texts.emplace_back(input.substr(0, end));
    if (end == std::string_view::npos) break;
    input.remove_prefix(end + 1);
  }
  constexpr int kStatuses[] = {200, 400, 401, 404, 405, 408, 413, 417, 429, 431, 500, 503};
  const int status = kStatuses[flags % std::size(kStatuses)];
  check_response(texts.front(), texts[texts.size() / 2], texts.back(), status, flags >= 128);
  check_stream(texts.front(), texts);
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
