#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "server/access/admission.h"
#include "server/http/http_reader.h"
#include "server/http/http_writer.h"
#include "server/observe/metrics.h"
#include "server/routes/routes.h"

namespace millrace {
namespace {

using Progress = HttpReader::Progress;

constexpr ServerLimits kLimits = {.header_bytes = 1000, .header_count = 20, .body_bytes = 500};

// What a connection makes of its bytes.
struct Reading {
  std::vector<HttpRequest> requests;
  std::vector<bool> kept_alive;
  std::optional<HttpResponse> error;
  std::string left;
};

Reading read_all(std::string_view input, std::string_view splits, const Admission& admission,
                 const ServerLimits& limits = kLimits) {
  Reading reading;
  HttpReader reader(limits, [&](const HttpHead& head) { return admission.judge(head); });
  size_t at = 0;
  for (size_t i = 0; at < input.size(); ++i) {
    const size_t step =
        splits.empty() ? input.size() : 1 + static_cast<uint8_t>(splits[i % splits.size()]);
    const std::string_view piece = input.substr(at, step);
    at += piece.size();
    reading.left += piece;
    while (true) {
      std::string_view unused = reading.left;
      const Progress progress = reader.read(unused);
      reading.left.erase(0, reading.left.size() - unused.size());
      if (progress == Progress::kMore) break;
      if (progress == Progress::kHead) continue;
      if (progress == Progress::kFailed) {
        reading.error = reader.error();
        return reading;
      }
      reading.kept_alive.push_back(reader.keep_alive());
      reading.requests.push_back(reader.take());
      reader.reset();
    }
  }
  return reading;
}

std::string written(const HttpRequest& request) {
  return fmt::format(
      "{} {} HTTP/1.1\r\nHost: t\r\nX-Request-Id: {}\r\nContent-Length: {}\r\n\r\n{}",
      request.method, request.path, request.id, request.body.size(), request.body);
}

bool same(const HttpRequest& a, const HttpRequest& b) {
  return a.method == b.method && a.path == b.path && a.body == b.body &&
         a.answer.has_value() == b.answer.has_value() && a.cache_salt == b.cache_salt;
}

void check_response(const HttpResponse& response, bool head_only) {
  const std::string bytes =
      http_bytes(response, {.request_id = "id", .close = true, .head_only = head_only});
  CHECK(bytes.starts_with(fmt::format("HTTP/1.1 {} ", response.status)), "a status line");
  CHECK(bytes.find("\r\n\r\n") != std::string::npos, "a head's end");
}

AccessOptions access_options(std::vector<std::string> keys, std::string origin) {
  AccessOptions options;
  options.api_keys = std::move(keys);
  options.allowed_origins = {std::move(origin)};
  return options;
}

// Pages too, so that whatever passes with keys passes here.
const Admission& everyone() {
  static const Admission admission(access_options({}, "*"));
  return admission;
}

// One request has one meaning: written down plainly and read again it is the same.
void check_request(const HttpRequest& request) {
  CHECK(std::ssize(request.body) <= kLimits.body_bytes, "a body beyond its limit");
  const Reading again = read_all(written(request), {}, everyone(), {});
  CHECK(!again.error && again.left.empty() && again.requests.size() == 1, "an own request fails");
  CHECK(again.requests[0].method == request.method && again.requests[0].path == request.path &&
            again.requests[0].body == request.body && again.requests[0].id == request.id,
        "a request has two meanings");
  SeedSource seeds(1);
  const RouteMatch match = find_route(request);
  if (match.route == nullptr) {
    check_response(match.error, request.method == "HEAD");
    return;
  }
  static Metrics metrics({});
  const Reply reply = answer(
      *match.route, request,
      {.limits = kLimits, .seeds = seeds, .model = nullptr, .draining = false, .metrics = metrics});
  CHECK(std::holds_alternative<HttpResponse>(reply), "an answer without a model");
  check_response(std::get<HttpResponse>(reply), request.method == "HEAD");
}

// Input: how many bytes of splits follow, these, and what a client sends.
void run(std::string_view input) {
  if (input.empty()) return;
  const size_t count = std::min<size_t>(static_cast<uint8_t>(input.front()) % 8, input.size() - 1);
  const std::string_view splits = input.substr(1, count);
  const std::string_view bytes = input.substr(1 + count);

  static const Admission with_keys(access_options({"key"}, "http://a"));
  const Reading whole = read_all(bytes, {}, everyone());
  for (const HttpRequest& request : whole.requests) check_request(request);
  if (whole.error) {
    CHECK(whole.error->status >= 400 && whole.error->close, "an error goes on");
    check_response(*whole.error, false);
  }

  const Reading split = read_all(bytes, splits, everyone());
  // What is left of a request that is not whole yet may differ, and when it is known to be wrong.
  CHECK(split.requests.size() == whole.requests.size(), "splits change the number of requests");
  for (size_t i = 0; i < whole.requests.size(); ++i) {
    CHECK(same(split.requests[i], whole.requests[i]), "splits change a request");
    CHECK(split.kept_alive[i] == whole.kept_alive[i], "splits change what follows");
  }

  // A key is judged before anything else: no request gets further with keys than without.
  const Reading judged = read_all(bytes, {}, with_keys);
  CHECK(judged.requests.size() <= whole.requests.size(), "a key lets more through");
  for (size_t i = 0; i < judged.requests.size(); ++i) {
    const HttpRequest& request = judged.requests[i];
    const bool open =
        request.path == "/health" || request.path == "/ready" || request.path == "/ping";
    CHECK(open || request.answer || request.cache_salt != 0, "a request without a key");
    CHECK(request.body == whole.requests[i].body, "a key changes a request");
  }
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
