#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "server/access/admission.h"
#include "server/http/http_message.h"
#include "server/http/http_reader.h"
#include "server/http/http_writer.h"
#include "server/http/request_record.h"
#include "server/http/server_limits.h"
#include "server/net/input_budget.h"
#include "server/net/input_buffer.h"
#include "server/net/socket.h"

namespace millrace {

class Connection;

// What a connection needs of its server. Called on the connections' thread.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual const ServerLimits& limits() const = 0;
  virtual const Admission& admission() const = 0;
  virtual bool draining() const = 0;
  virtual InputBudget& input_budget() = 0;
  // Leads to one reply() on the connection, now or later.
  virtual void handle(HttpRequest request, const std::shared_ptr<Connection>& connection) = 0;
  // A request was answered: one that handle() was called for, or (not `handled`) one that failed
  // before.
  virtual void answered(const RequestRecord& record, bool handled) = 0;
  virtual void closed(const std::shared_ptr<Connection>& connection) = 0;
};

// One client's socket: reads requests, one at a time, and sends their answers in order. While an
// answer is made it goes on reading, to notice when the client leaves. Lives on one thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(std::unique_ptr<Socket> socket, ConnectionHost& host);

  void start();
  void reply(Reply reply);
  // For the record of the request that is being answered.
  void set_handler(std::optional<Handler> handler) { record_.handler = handler; }
  void refuse(const HttpResponse& response);  // instead of start()
  // Closes if the connection is between requests. One that has not sent any may be about to, and
  // gets an answer.
  void drain();
  // The server stops: whatever is being answered ends with `reason`.
  void end(const absl::Status& reason);
  void close();
  // Since when the server has waited for the head of a request; absent while it does not.
  std::optional<Clock::time_point> waiting_since() const;

 private:
  using Timer = boost::asio::steady_timer;
  enum class State { kOpening, kIdle, kHead, kBody, kAnswering, kLingering, kClosed };
  enum class AfterWrite { kGoOn, kFinish };

  void open(std::function<void()> opened);
  void read_some();
  void on_read(const boost::system::error_code& error, size_t count);
  bool may_read() const;
  void count_input();
  void advance();
  bool begin_request();
  void fail(const HttpResponse& response);
  void dispatch();

  void pump();
  void send(const HttpResponse& response);
  void send_events(const AnswerPart& part);
  void flush();
  void write_some();
  void on_written();
  void finish_request();
  void linger();
  void leave();

  void arm(Timer& timer, absl::Duration timeout, void (Connection::*on_expiry)());
  void on_read_timeout();
  void close_idle();
  void on_ping();
  bool ends_after_answer() const;

  HttpFraming framing() const;

  const std::unique_ptr<Socket> socket_;
  ConnectionHost& host_;
  const ServerLimits& limits_;
  HttpReader reader_;
  State state_ = State::kOpening;
  Timer read_timer_, write_timer_, ping_timer_;

  std::array<char, 16384> chunk_;
  InputBuffer input_;
  HeldInput held_;
  bool reading_ = false;
  bool input_ended_ = false;

  std::string queued_, writing_;  // bytes to send next, bytes being sent
  size_t written_ = 0;            // of writing_
  AfterWrite after_write_ = AfterWrite::kGoOn;

  std::shared_ptr<AnswerSource> source_;
  bool streaming_ = false;
  bool closing_ = false;  // this answer is the connection's last
  bool handled_ = false;
  int64_t requests_ = 0;  // begun on this connection
  RequestRecord record_;
  Clock::time_point began_;
  Clock::time_point idle_since_ = Clock::now();
};

}  // namespace millrace
