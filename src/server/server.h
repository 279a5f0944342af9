#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

namespace millrace {

class ChatTemplate;
class Generator;
class Observer;
class Tokenizer;

// What a client may cost. Beyond a limit it gets an error that names it, or is let go.
struct ServerLimits {
  int64_t header_bytes = int64_t{64} << 10;  // the whole request head
  int32_t header_count = 100;
  int64_t body_bytes = int64_t{16} << 20;
  int64_t input_bytes = int64_t{256} << 20;  // of all requests that are held at once
  int32_t connections = 1024;
  int64_t connection_requests = 10000;  // then the connection is closed
  int32_t json_depth = 64;
  int32_t json_keys = 1000;   // of one object
  int32_t choices = 1024;     // of one request: its prompts times n
  int32_t logprobs = 20;      // likeliest tokens reported for each token
  int32_t stops = 16;         // strings
  int64_t stop_bytes = 1024;  // of one string
  int32_t stop_tokens = 256;
  int64_t bad_word_bytes = int64_t{64} << 10;  // of all bad words
  int32_t biases = 1000;
  int64_t tokens = int64_t{4} << 20;         // of one request: prompts and all that they may give
  int64_t answer_bytes = int64_t{64} << 20;  // of one answer: log-probabilities, prompts repeated
  int64_t pending_bytes = int64_t{8} << 20;  // of one answer, computed and not yet sent
  absl::Duration head_timeout = absl::Seconds(10);
  absl::Duration body_timeout = absl::Seconds(30);
  absl::Duration idle_timeout = absl::Seconds(60);   // between requests of one connection
  absl::Duration stall_timeout = absl::Seconds(30);  // a client that reads nothing
  absl::Duration ping_interval = absl::Seconds(15);  // of silence on a stream
};

// Who may ask.
struct AccessOptions {
  std::vector<std::string> api_keys;  // empty: everyone; else only /health and /ready need none
  bool open_metrics = false;          // nor does /metrics
  bool shared_prefix_cache = false;   // else what one key's prompts left serves that key only
  std::vector<std::string> allowed_origins;  // whose pages may ask from a browser; "*": all
};

struct ServerOptions {
  std::string host = "127.0.0.1";        // an address or a name
  int32_t port = 8000;                   // 0: any free one
  std::string uds;                       // path of a Unix socket to listen on instead
  std::string ssl_certificate, ssl_key;  // PEM text; empty: no TLS
  AccessOptions access;
  std::vector<std::string> model_names;  // the first is the id in answers; empty: ModelCard::id
  std::optional<uint64_t> seed;          // requests without one draw theirs from it; absent: chance
  int32_t threads = 2;                   // that read requests, render templates and tokenise
  bool log_prompts = false;              // what clients ask stands in the log
  ServerLimits limits;
};

// What answers requests. All three outlive the server's stop().
struct ServedModel {
  Generator& generator;
  const Tokenizer& tokenizer;
  const ChatTemplate* chat_template = nullptr;  // null: the model has none; a chat request says so
};

// An HTTP server that speaks OpenAI's API. One thread moves bytes, a few read requests; the
// generator's threads only leave tokens behind. Every method may be called from any thread; start
// and stop once.
class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and begins to answer: 503 until there is a model. The error is one line that names where
  // and why.
  absl::Status start();
  int32_t port() const;  // the one in use, after start(); 0 of a Unix socket

  // What must watch the generator, for /metrics to tell of it. Lives as long as this.
  Observer& observer();
  // From now on /health is 200 and requests are served. Once.
  void set_model(ServedModel model);

  // New requests get 503 and /ready says so; those that are being answered go on.
  void begin_drain();
  // True when no request is being answered; false after `timeout`, or when stop() was called.
  bool wait_idle(absl::Duration timeout);
  // Ends what is still running (streams with an error event, others with 503), closes every
  // connection and joins all threads. Clients have their last words within a second; after that it
  // waits for requests that are just being read. The generator gets no call after it.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace
