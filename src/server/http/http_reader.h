#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/access/admission.h"
#include "server/http/http_message.h"
#include "server/server.h"

namespace millrace {

// Requests out of a connection's bytes. Strict: what two readers could understand in two ways is an
// error. No sockets, no clocks.
class HttpReader {
 public:
  // `admission` outlives the reader, and judges a head before anything else is made of it.
  HttpReader(const ServerLimits& limits, const Admission& admission);
  ~HttpReader();

  enum class Progress {
    kMore,    // needs bytes that are not there yet
    kHead,    // the head is whole; said once, before the body is looked at
    kDone,    // the request is whole
    kFailed,  // error(); nothing more can be read from this connection
  };
  // Takes what it can use off the front of `bytes`, and wants to see the rest again.
  Progress read(std::string_view& bytes);

  HttpRequest take();               // after kDone
  const std::string& body() const;  // as far as it came, until it is taken
  HttpResponse error() const { return error_; }

  // Once the head is whole; before, and of a head that was none, empty.
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
  const Admission& admission_;
  std::unique_ptr<Parser> parser_;
  bool head_seen_ = false;
  int64_t head_fields_ = 0;
  bool keep_alive_ = false;
  bool old_ = false;
  bool expects_continue_ = false;
  std::string id_;
  HttpHead head_;
  Admission::Verdict verdict_;
  HttpResponse error_;
};

}  // namespace millrace
