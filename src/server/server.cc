#include "server/server.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <absl/container/flat_hash_set.h>
#include <absl/time/clock.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "base/check.h"
#include "base/status.h"
#include "base/system/signals_blocked.h"
#include "core/generator.h"
#include "server/answer/token_text.h"
#include "server/http/api_error.h"
#include "server/net/connection.h"
#include "server/net/listener.h"
#include "server/observe/metrics.h"
#include "server/observe/request_log.h"
#include "server/routes/routes.h"

namespace millrace {
namespace asio = boost::asio;

namespace {

// How long stop() waits until the last answers are sent.
constexpr absl::Duration kLastAnswers = absl::Seconds(1);

}  // namespace

struct Server::State final : ConnectionHost {
  explicit State(ServerOptions given)
      : options(std::move(given)),
        seeds(options.seed),
        input(options.limits.input_bytes),
        metrics(handlers()),
        listener(network, options.address, options.limits.stall_timeout),
        network_guard(asio::make_work_guard(network)),
        work_guard(asio::make_work_guard(work)) {}

  absl::Status start();
  void admit(std::unique_ptr<Socket> socket);
  void close_longest_waiting();
  void stop();
  RouteContext context();
  void count_load(const std::optional<Handler>& handler, int64_t change);

  const ServerLimits& limits() const override { return options.limits; }
  const Admission& admission() const override { return *access; }
  bool draining() const override { return drain; }
  InputBudget& input_budget() override { return input; }
  void handle(HttpRequest request, const std::shared_ptr<Connection>& connection) override;
  void answered(const RequestRecord& record, bool handled) override;
  void closed(const std::shared_ptr<Connection>& connection) override;

  const ServerOptions options;
  SeedSource seeds;
  std::optional<Admission> access;  // once the listener is open
  InputBudget input;
  Metrics metrics;
  std::atomic<bool> drain = false;

  asio::io_context network{1};  // sockets and timers: one thread, so nothing there is locked
  asio::io_context work;        // reading, rendering, tokenising
  Listener listener;
  absl::flat_hash_set<std::shared_ptr<Connection>> connections;  // the network thread's
  asio::executor_work_guard<asio::io_context::executor_type> network_guard, work_guard;
  std::vector<std::thread> threads;  // the network's first

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<const NamedModel> model;
  int64_t answering = 0;
  int64_t load = 0;  // of them, to the model
  bool stopping = false;
  bool emptied = false;  // while stopping: no connection is left
};

absl::Status Server::State::start() {
  RETURN_IF_ERROR(listener.open());
  access.emplace(options.access, Reach{.scheme = listener.has_tls() ? "https" : "http",
                                       .host = options.address.host,
                                       .loopback_only = listener.is_loopback()});
  listener.accept([this](std::unique_ptr<Socket> socket) { admit(std::move(socket)); });
  const SignalsBlocked blocked;
  threads.emplace_back([this] { network.run(); });
  for (int32_t i = 0; i < options.threads; ++i) {
    threads.emplace_back([this] { work.run(); });
  }
  return absl::OkStatus();
}

// A connection that waits for a request makes room for a new one.
void Server::State::close_longest_waiting() {
  std::shared_ptr<Connection> longest;
  for (const auto& connection : connections) {
    if (!connection->waiting_since()) continue;
    const bool longer = !longest || connection->waiting_since() < longest->waiting_since();
    if (longer) longest = connection;
  }
  if (longest) longest->close();
}

void Server::State::admit(std::unique_ptr<Socket> socket) {
  if (std::ssize(connections) >= options.limits.connections) close_longest_waiting();
  const bool full = std::ssize(connections) >= options.limits.connections;
  const bool flooded = std::ssize(connections) >= 2 * int64_t{options.limits.connections};
  if (flooded) return;  // not even a refusal
  auto connection = std::make_shared<Connection>(std::move(socket), *this);
  connections.insert(connection);
  if (full) {
    connection->refuse(http_error(503, "The server has as many connections as it takes."));
  } else {
    connection->start();
  }
}

RouteContext Server::State::context() {
  const std::lock_guard lock(mutex);
  return {options.limits, seeds, model, drain, metrics, load, options.log_prompts};
}

void Server::State::count_load(const std::optional<Handler>& handler, int64_t change) {
  if (handler && !handler->operates) load += change;
}

void Server::State::handle(HttpRequest request, const std::shared_ptr<Connection>& connection) {
  const RouteMatch match = request.answer ? RouteMatch{} : find_route(request);
  std::optional<Handler> handler;
  if (match.route != nullptr) handler = match.route->handler();
  connection->set_handler(handler);
  {
    const std::lock_guard lock(mutex);
    ++answering;
    count_load(handler, 1);
  }
  if (request.answer) {
    connection->reply(*std::move(request.answer));
    return;
  }
  if (match.route == nullptr) {
    connection->reply(match.error);
    return;
  }
  const Route& route = *match.route;
  if (!route.heavy) {
    connection->reply(answer(route, request, context()));
    return;
  }
  auto task = [this, &route, request = std::move(request),
               weak = std::weak_ptr<Connection>(connection)]() mutable {
    if (weak.expired()) return;
    Reply reply = answer(route, request, context());
    asio::post(network, [weak = std::move(weak), reply = std::move(reply)]() mutable {
      if (const auto waiting = weak.lock()) waiting->reply(std::move(reply));
    });
  };
  asio::post(work, std::move(task));
}

void Server::State::answered(const RequestRecord& record, bool handled) {
  log_request(record);
  metrics.answered(record);
  if (!handled) return;
  const std::lock_guard lock(mutex);
  --answering;
  count_load(record.handler, -1);
  changed.notify_all();
}

void Server::State::closed(const std::shared_ptr<Connection>& connection) {
  connections.erase(connection);
  const std::lock_guard lock(mutex);
  emptied = stopping && connections.empty();
  changed.notify_all();
}

void Server::State::stop() {
  drain = true;
  {
    const std::lock_guard lock(mutex);
    stopping = true;
    changed.notify_all();
  }
  if (threads.empty()) return;
  work_guard.reset();
  work.stop();  // but for the requests that are just being read
  asio::post(network, [this] {
    listener.close();
    const std::vector<std::shared_ptr<Connection>> open(connections.begin(), connections.end());
    for (const auto& connection : open) {
      connection->end(unavailable("The server is shutting down."));
    }
    const std::lock_guard lock(mutex);
    emptied = connections.empty();
    changed.notify_all();
  });
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, absl::ToChronoMilliseconds(kLastAnswers), [this] { return emptied; });
  }
  // After this replies are in the network's queue or do not come.
  for (size_t i = 1; i < threads.size(); ++i) threads[i].join();
  asio::post(network, [this] {
    const std::vector<std::shared_ptr<Connection>> open(connections.begin(), connections.end());
    for (const auto& connection : open) connection->close();
    network_guard.reset();
  });
  threads.front().join();
  threads.clear();
}

Server::Server(ServerOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Server::~Server() { stop(); }

absl::Status Server::start() { return state_->start(); }
int32_t Server::port() const { return state_->listener.port(); }
bool Server::is_local() const {
  return !state_->options.address.uds.empty() || state_->listener.is_loopback();
}

Observer& Server::observer() { return state_->metrics; }

void Server::set_model(ServedModel served) {
  const ModelCard& card = served.generator.card();
  auto model = std::make_shared<NamedModel>(
      NamedModel{served, state_->options.model_names, absl::ToUnixSeconds(card.created),
                 card.context_max, card.vocab_size, token_bytes_max(served.tokenizer)});
  if (model->names.empty()) model->names.push_back(card.id);
  state_->metrics.set_model(served.generator, model->names.front());
  const std::lock_guard lock(state_->mutex);
  CHECK(state_->model == nullptr, "a server gets its model once");
  state_->model = std::move(model);
}

void Server::begin_drain() {
  state_->drain = true;
  asio::post(state_->network, [state = state_.get()] {
    const std::vector<std::shared_ptr<Connection>> open(state->connections.begin(),
                                                        state->connections.end());
    for (const auto& connection : open) connection->drain();
  });
}

bool Server::wait_idle(absl::Duration timeout) {
  std::unique_lock lock(state_->mutex);
  const auto settled = [this] { return state_->answering == 0 || state_->stopping; };
  state_->changed.wait_for(lock, absl::ToChronoNanoseconds(timeout), settled);
  return state_->answering == 0 && !state_->stopping;
}

void Server::stop() { state_->stop(); }

}  // namespace millrace
