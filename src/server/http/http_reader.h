#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/http_message.h"
#include "server/http/server_limits.h"

namespace millrace {

// Parses requests from a connection's bytes. Strict: what two parsers could read in two ways is an
// error. No sockets, no clocks.
class HttpReader {
 public:
  // `judge` decides on a head before anything else is made of it.
  HttpReader(const ServerLimits& limits, HeadJudge judge);
  ~HttpReader();

  enum class Progress {
    kMore,    // needs bytes that are not there yet
    kHead,    // the head is whole; said once, before the body is looked at
    kDone,    // the request is whole
    kFailed,  // error(); nothing more can be read from this connection
  };
  // Takes what it can parse off the front of `bytes`; the rest has to be passed again, with more.
  Progress read(std::string_view& bytes);

  HttpRequest take();               // after kDone
  const std::string& body() const;  // as far as it came, until it is taken
  HttpResponse error() const { return error_; }

  // Once the head is whole; empty before, and where it is not valid.
  const HttpHead& head() const { return head_; }
  // After kHead.
  bool keep_alive() const { return keep_alive_; }
  bool old() const { return old_; }  // HTTP/1.0
  bool expects_continue() const { return expects_continue_; }
  const std::string& id() const { return id_; }  // the request's, or one of ours

  // For the next request of the connection.
  void reset();

 private:
  struct Parser;

  Progress fail(HttpResponse error);
  HttpResponse too_large() const;
  Progress accept_head();
  int64_t field_count() const;
  bool has_body() const;
  std::optional<HttpResponse> head_fault() const;

  const ServerLimits limits_;
  const HeadJudge judge_;
  std::unique_ptr<Parser> parser_;
  bool head_seen_ = false;
  int64_t head_fields_ = 0;
  bool keep_alive_ = false;
  bool old_ = false;
  bool expects_continue_ = false;
  std::string id_;
  HttpHead head_;
  HeadVerdict verdict_;
  HttpResponse error_;
};

}  // namespace millrace
