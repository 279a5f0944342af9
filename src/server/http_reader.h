#pragma once

#include <memory>
#include <string>

#include "server/http_message.h"
#include "server/server.h"

namespace millrace {

// Requests out of a connection's bytes. Strict: what two readers could understand in two ways is an
// error. No sockets, no clocks.
class HttpReader {
 public:
  explicit HttpReader(const ServerLimits& limits);
  ~HttpReader();

  enum class Progress {
    kMore,    // needs bytes that are not there yet
    kHead,    // the head is whole; said once, before the body is looked at
    kDone,    // the request is whole
    kFailed,  // error(); nothing more can be read from this connection
  };
  // Takes what it can use off the front of `bytes`.
  Progress read(std::string& bytes);

  HttpRequest take();  // after kDone
  HttpResponse error() const { return error_; }

  // After kHead.
  bool keep_alive() const { return keep_alive_; }
  bool old() const { return old_; }  // HTTP/1.0
  bool expects_continue() const { return expects_continue_; }
  const std::string& id() const { return id_; }  // the request's, or one of ours

  // For the next request of the connection.
  void reset();

 private:
  struct Parser;

  Progress fail(int status, std::string_view message);
  Progress check_head();

  const ServerLimits limits_;
  std::unique_ptr<Parser> parser_;
  bool head_seen_ = false;
  bool keep_alive_ = false;
  bool old_ = false;
  bool expects_continue_ = false;
  std::string id_;
  HttpResponse error_;
};

}  // namespace millrace
