#include "server/net/connection.h"

#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

#include "base/status.h"
#include "server/http/api_error.h"
#include "server/http/http_writer.h"

namespace millrace {
namespace asio = boost::asio;

namespace {

// How long input is still read after sending has ended: unread input would make the system reset
// the connection, and the client lose the last answer.
constexpr absl::Duration kLinger = absl::Seconds(2);

// Capacity that a buffer keeps for the next request: more than most answers take.
constexpr size_t kKeptBytes = 64 << 10;

}  // namespace

Connection::Connection(std::unique_ptr<Socket> socket, ConnectionHost& host)
    : socket_(std::move(socket)),
      host_(host),
      limits_(host.limits()),
      reader_(limits_, [&host](const HttpHead& head) { return host.admission().judge(head); }),
      read_timer_(socket_->executor()),
      write_timer_(socket_->executor()),
      ping_timer_(socket_->executor()),
      held_(host.input_budget()) {}

void Connection::start() {
  open([this] {
    state_ = State::kIdle;
    arm(read_timer_, limits_.idle_timeout, &Connection::on_read_timeout);
    read_some();
  });
}

void Connection::refuse(const HttpResponse& response) {
  open([this, response] {
    fail(response);
    read_some();
  });
}

void Connection::open(std::function<void()> opened) {
  arm(read_timer_, limits_.head_timeout, &Connection::on_read_timeout);
  socket_->open([self = shared_from_this(),
                 opened = std::move(opened)](const boost::system::error_code& error) {
    if (self->state_ == State::kClosed) return;
    if (error) {
      self->close();
    } else {
      opened();
    }
  });
}

void Connection::drain() {
  if (state_ == State::kIdle && requests_ > 0) close();
}

void Connection::end(const absl::Status& reason) {
  if (state_ != State::kAnswering) {
    close();
    return;
  }
  if (source_) {
    source_->end(reason);
    pump();
  } else if (after_write_ == AfterWrite::kGoOn && !streaming_) {
    send(error_response(reason));
  }
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  const bool answering = state_ == State::kAnswering;
  state_ = State::kClosed;
  if (source_) {
    source_->end(absl::OkStatus());
    record_.generation = source_->report();
  }
  source_ = nullptr;
  read_timer_.cancel();
  write_timer_.cancel();
  ping_timer_.cancel();
  socket_->close();
  const std::shared_ptr<Connection> self = shared_from_this();
  if (answering) {
    record_.status = kClientLeft;
    record_.took = Clock::now() - began_;
    host_.answered(record_, handled_);
  }
  host_.closed(self);
}

std::optional<Connection::Clock::time_point> Connection::waiting_since() const {
  const bool waits = state_ == State::kOpening || state_ == State::kIdle || state_ == State::kHead;
  return waits ? std::optional(idle_since_) : std::nullopt;
}

void Connection::arm(Timer& timer, absl::Duration timeout, void (Connection::*on_expiry)()) {
  timer.expires_after(absl::ToChronoNanoseconds(timeout));
  timer.async_wait(
      [self = shared_from_this(), &timer, on_expiry](const boost::system::error_code& error) {
        // A timer that was set anew after it had expired is not due.
        const bool due = !error && timer.expiry() <= Clock::now();
        if (due && self->state_ != State::kClosed) (self.get()->*on_expiry)();
      });
}

bool Connection::may_read() const {
  if (reading_ || input_ended_ || state_ == State::kClosed) return false;
  // A client that pipelines requests is not read while its share is full. One that does not is
  // always read, to notice when it closes.
  const bool has_room = std::ssize(input_.view()) < InputBudget::kShareBytes && held_.fits();
  return state_ != State::kAnswering || input_.empty() || has_room;
}

// Of the request that is being read or answered, and of those pipelined behind it.
void Connection::count_input() {
  const int64_t body =
      state_ == State::kAnswering ? record_.body_bytes : std::ssize(reader_.body());
  held_.set(body + std::ssize(input_.view()));
}

void Connection::read_some() {
  if (!may_read()) return;
  reading_ = true;
  socket_->read_some(asio::buffer(chunk_),
                     [self = shared_from_this()](const boost::system::error_code& error,
                                                 size_t count) { self->on_read(error, count); });
}

void Connection::on_read(const boost::system::error_code& error, size_t count) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) {
    input_ended_ = true;
    leave();
    return;
  }
  if (state_ != State::kLingering) {
    input_.append({chunk_.data(), count});
    if (state_ != State::kAnswering) advance();
    count_input();
    const bool is_reading = state_ == State::kHead || state_ == State::kBody;
    if (is_reading && !held_.fits()) {
      fail(http_error(503, "The server holds as many bytes of requests as it takes."));
    }
  }
  read_some();
}

// The client sends no more. An answer that is already whole still goes out.
void Connection::leave() {
  const bool answer_whole = state_ == State::kAnswering && after_write_ == AfterWrite::kFinish;
  if (answer_whole) {
    closing_ = true;
  } else {
    close();
  }
}

bool Connection::begin_request() {
  // Some clients send an empty line after a body; RFC 9112, section 2.2, lets servers skip it.
  while (input_.view().starts_with("\r\n")) input_.use(2);
  if (input_.empty() || input_.view() == "\r") return false;
  state_ = State::kHead;
  ++requests_;
  record_ = {};
  handled_ = false;
  began_ = Clock::now();
  arm(read_timer_, limits_.head_timeout, &Connection::on_read_timeout);
  return true;
}

void Connection::advance() {
  if (state_ == State::kIdle && !begin_request()) return;
  while (true) {
    std::string_view unused = input_.view();
    const HttpReader::Progress progress = reader_.read(unused);
    input_.use(input_.view().size() - unused.size());
    switch (progress) {
      case HttpReader::Progress::kMore:
        return;
      case HttpReader::Progress::kFailed:
        fail(reader_.error());
        return;
      case HttpReader::Progress::kDone:
        dispatch();
        return;
      case HttpReader::Progress::kHead:
        state_ = State::kBody;
        arm(read_timer_, limits_.body_timeout, &Connection::on_read_timeout);
        if (reader_.expects_continue() && input_.empty()) {
          queued_ += "HTTP/1.1 100 Continue\r\n\r\n";
          flush();
        }
        break;
    }
  }
}

void Connection::fail(const HttpResponse& response) {
  state_ = State::kAnswering;
  read_timer_.cancel();
  if (began_ == Clock::time_point()) began_ = Clock::now();
  record_.id = reader_.id();
  record_.method = reader_.head().method;
  record_.path = reader_.head().path;
  record_.body_bytes = std::ssize(reader_.body());
  closing_ = true;
  send(response);
}

void Connection::dispatch() {
  state_ = State::kAnswering;
  read_timer_.cancel();
  handled_ = true;
  closing_ = !reader_.keep_alive() || requests_ >= limits_.connection_requests;
  HttpRequest request = reader_.take();
  record_.id = request.id;
  record_.method = request.method;
  record_.path = request.path;
  record_.body_bytes = std::ssize(request.body);
  host_.handle(std::move(request), shared_from_this());
}

void Connection::reply(Reply reply) {
  // A request that end() has answered gets no second answer.
  const bool is_awaited = state_ == State::kAnswering && after_write_ == AfterWrite::kGoOn;
  if (auto* response = std::get_if<HttpResponse>(&reply)) {
    if (is_awaited) send(*response);
    return;
  }
  auto& source = std::get<std::shared_ptr<AnswerSource>>(reply);
  if (!is_awaited) {
    source->end(absl::OkStatus());
    return;
  }
  source_ = std::move(source);
  source_->watch([weak = weak_from_this(), executor = socket_->executor()] {
    asio::post(executor, [weak] {
      if (const std::shared_ptr<Connection> self = weak.lock()) self->pump();
    });
  });
  arm(ping_timer_, limits_.ping_interval, &Connection::on_ping);
  pump();
}

bool Connection::ends_after_answer() const { return closing_ || input_ended_ || host_.draining(); }

// Sends the next part of the answer, once the part before it is written.
void Connection::pump() {
  if (!source_ || !writing_.empty()) return;
  const AnswerPart part = source_->next();
  if (part.empty()) return;
  if (part.last) {
    record_.generation = source_->report();
    source_ = nullptr;
  }
  if (part.whole) {
    send(*part.whole);
  } else {
    send_events(part);
  }
}

void Connection::on_ping() {
  if (!source_) return;
  if (writing_.empty()) {
    const AnswerPart part = source_->ping();
    if (!part.empty()) send_events(part);
  }
  arm(ping_timer_, limits_.ping_interval, &Connection::on_ping);
}

HttpFraming Connection::framing() const {
  return {.request_id = record_.id,
          .origin_lines = host_.admission().origin_lines(reader_.head().origin.value_or("")),
          .old = reader_.old(),
          .close = closing_,
          .head_only = record_.method == "HEAD",
          .idle_seconds = absl::ToInt64Seconds(limits_.idle_timeout)};
}

void Connection::send(const HttpResponse& response) {
  closing_ = ends_after_answer() || response.close;
  record_.status = response.status;
  queued_ += http_bytes(response, framing());
  after_write_ = AfterWrite::kFinish;
  flush();
}

void Connection::send_events(const AnswerPart& part) {
  const bool old = reader_.old();
  if (!streaming_) {
    streaming_ = true;
    record_.status = 200;
    closing_ = ends_after_answer() || old;
    queued_ += event_stream_head(framing());
  }
  if (!part.events.empty()) queued_ += old ? part.events : http_chunk(part.events);
  if (part.last) {
    if (!old) queued_ += kLastChunk;
    after_write_ = AfterWrite::kFinish;
  }
  arm(ping_timer_, limits_.ping_interval, &Connection::on_ping);
  flush();
}

void Connection::flush() {
  if (!writing_.empty() || queued_.empty()) return;
  std::swap(writing_, queued_);
  written_ = 0;
  write_some();
}

void Connection::write_some() {
  arm(write_timer_, limits_.stall_timeout, &Connection::close);
  socket_->write_some(
      asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t count) {
        if (self->state_ == State::kClosed) return;
        if (error) {
          self->close();
          return;
        }
        self->written_ += count;
        self->record_.bytes += static_cast<int64_t>(count);
        if (self->written_ < self->writing_.size()) {
          self->write_some();
        } else {
          self->on_written();
        }
      });
}

void Connection::on_written() {
  write_timer_.cancel();
  writing_.clear();
  if (!queued_.empty()) {
    flush();
  } else if (after_write_ == AfterWrite::kFinish) {
    finish_request();
  } else {
    pump();
  }
}

void Connection::finish_request() {
  ping_timer_.cancel();
  after_write_ = AfterWrite::kGoOn;
  streaming_ = false;
  record_.took = Clock::now() - began_;
  state_ = State::kIdle;
  idle_since_ = Clock::now();
  if (writing_.capacity() > kKeptBytes) writing_ = {};
  if (queued_.capacity() > kKeptBytes) queued_ = {};
  host_.answered(record_, handled_);
  if (ends_after_answer()) {
    linger();
    return;
  }
  reader_.reset();
  closing_ = false;
  arm(read_timer_, limits_.idle_timeout, &Connection::on_read_timeout);
  if (!input_.empty()) advance();
  count_input();
  read_some();
}

void Connection::linger() {
  if (input_ended_) {
    close();
    return;
  }
  state_ = State::kLingering;
  input_.clear();
  held_.set(0);
  socket_->end_sending([self = shared_from_this()](const boost::system::error_code&) {});
  arm(read_timer_, kLinger, &Connection::on_read_timeout);
  read_some();
}

void Connection::on_read_timeout() {
  if (state_ == State::kHead) {
    fail(http_error(408, "The request head did not arrive in time."));
  } else if (state_ == State::kBody) {
    fail(http_error(408, "The request body did not arrive in time."));
  } else if (state_ == State::kIdle) {
    close_idle();
  } else if (state_ != State::kAnswering) {
    close();
  }
}

// A request may be on its way. One that has arrived is answered; to one that comes too late the
// connection ends without a reset, which tells its client that it was not begun.
void Connection::close_idle() {
  if (socket_->has_input()) {
    arm(read_timer_, limits_.idle_timeout, &Connection::on_read_timeout);
  } else {
    linger();
  }
}

}  // namespace millrace
