#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/status.h>

#include "server/http/request_record.h"

namespace millrace {

// What of a request is judged before its body is read.
struct HttpHead {
  std::string method;
  std::string path;               // without the query
  std::vector<std::string> keys;  // API keys that the client presents
  // The server as the client names it, HOST[:PORT]: the target's where that is a URL, then the Host
  // header's. Empty: it names none.
  std::vector<std::string> hosts;
  std::optional<std::string> origin;  // of the page that sends the request, from a browser
  bool asks_preflight = false;        // whether that page may send it
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // besides type, length and id
  bool close = false;                                        // the connection ends with it
};

// What a request's head alone decides.
struct HeadVerdict {
  std::optional<HttpResponse> answer;  // instead of a route's: a refusal, or to a preflight
  bool refused = false;
  bool locked = false;      // for want of a key: its other faults are not told
  uint64_t cache_salt = 0;  // 0: the client has no key, or all share the prefix cache
};
using HeadJudge = std::function<HeadVerdict(const HttpHead&)>;

// What the routes see of a request; the rest stays with the connection.
struct HttpRequest {
  std::string method;
  std::string path;  // without the query
  std::string body;
  std::string id;                      // X-Request-Id: the client's, or one of ours
  std::optional<HttpResponse> answer;  // by the head alone: no route sees the request
  uint64_t cache_salt = 0;             // of the client's key: clients share no cached prompts
};

// What an answer has to send: nothing yet, the whole of it, or the next bytes of an event stream.
struct AnswerPart {
  std::optional<HttpResponse> whole;  // the last part
  std::string events;
  bool last = false;

  bool empty() const { return !whole && events.empty() && !last; }
};

// An answer that is still being made. Used on the server's connection thread only.
class AnswerSource {
 public:
  virtual ~AnswerSource() = default;
  // `wake` is called from any thread whenever next() may have something; at once if it has.
  virtual void watch(std::function<void()> wake) = 0;
  // What can be sent now, at most about a socket's buffer. Not called after the last part.
  virtual AnswerPart next() = 0;
  // Keeps a silent stream alive; empty where the answer is not a stream.
  virtual AnswerPart ping() = 0;
  // The client is gone (OK), or the server ends the answer (the reason): work for it stops, and
  // after a reason next() returns the last part at once.
  virtual void end(const absl::Status& reason) = 0;
  // After the last part or end().
  virtual GenerationReport report() const = 0;
};

// A handler's answer, whole or still being made.
using Reply = std::variant<HttpResponse, std::shared_ptr<AnswerSource>>;

}  // namespace millrace
