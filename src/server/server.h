#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "server/access/access_options.h"
#include "server/http/server_limits.h"
#include "server/net/listen_address.h"
#include "server/request/served_model.h"

namespace millrace {

class Observer;

struct ServerOptions {
  ListenAddress address;
  AccessOptions access;
  std::vector<std::string> model_names;  // the first is the id in answers; empty: ModelCard::id
  std::optional<uint64_t> seed;          // requests without one draw theirs from it; absent: random
  int32_t threads = 2;                   // that read requests, render templates and tokenise
  bool log_prompts = false;              // prompts are written to the log
  ServerLimits limits;
};

// An HTTP server for OpenAI's API. One thread reads and writes sockets, a few parse and tokenise;
// the generator's threads only put tokens into mailboxes. Every method may be called from any
// thread; start and stop once.
class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and begins to answer: 503 until there is a model. The error is one line that names the
  // address and the reason.
  absl::Status start();
  int32_t port() const;   // the one in use, after start(); 0 of a Unix socket
  bool is_local() const;  // after start(): no other machine can reach it

  // To be given to the generator, for the series of /metrics. Lives as long as this.
  Observer& observer();
  // From now on /health is 200 and requests are served. Once.
  void set_model(ServedModel model);

  // New requests get 503 and /ready says so; those that are being answered go on.
  void begin_drain();
  // True when no request is being answered; false after `timeout`, or when stop() was called.
  bool wait_idle(absl::Duration timeout);
  // Ends what is still running (streams with an error event, others with 503), closes every
  // connection and joins all threads. It waits at most a second for these answers to be sent, and
  // then for requests that are being parsed. The generator gets no call after it.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace
