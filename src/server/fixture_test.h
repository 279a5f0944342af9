#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/generator.h"
#include "server/http/json_text.h"
#include "server/server.h"
#include "text/tokenizer.h"

// What the room's tests share; the bodies are in fixture_test.cc.
namespace millrace {

// Answers each request with a script, on a thread of its own as the engine does: `round_tokens` for
// every running choice in each round.
class EchoGenerator final : public Generator {
 public:
  // The tokens of one choice's answer; by default the prompt again and again.
  using Script = std::function<std::vector<TokenId>(const Request&, int32_t choice)>;

  explicit EchoGenerator(const Tokenizer& tokenizer, int64_t context_max = 4096);
  ~EchoGenerator() override;

  absl::StatusOr<std::vector<RequestId>> submit_all(std::vector<Submission> submissions) override;
  void cancel(RequestId id) override;
  const ModelCard& card() const override { return card_; }
  GeneratorStats stats() const override;
  bool healthy() const override { return healthy_; }
  void set_healthy(bool healthy) { healthy_ = healthy; }

  // Set before requests come.
  Script script;
  int64_t queue_max = 1 << 20;
  absl::Duration round_delay;
  size_t round_tokens = 1;
  RequestTimes times;           // of every request
  absl::Duration per_sequence;  // in stats()
  absl::Status failure;         // ends every request after its first round
  void hold(bool held);         // no rounds while held

  bool wait_for_cancels(int64_t count);  // false after ten seconds
  bool wait_for_running(int64_t count);
  Request last_request() const;

 private:
  struct Running;
  RequestId begin(Submission submission);
  void work();
  void round(Running& running);
  TokenEvent next_event(Running& running, size_t choice, size_t at) const;

  const Tokenizer& tokenizer_;
  ModelCard card_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, std::shared_ptr<Running>> running_;
  Request last_;
  int64_t submitted_ = 0;
  int64_t cancelled_ = 0;
  std::atomic<bool> healthy_ = true;
  bool held_ = false;
  bool stop_ = false;
  std::thread thread_;
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  std::vector<std::string> chunks;
  bool whole = false;

  Json json() const { return Json::parse(body); }
};

// A blocking raw socket. Everything gives up after ten seconds.
class TestClient {
 public:
  explicit TestClient(int32_t port, int receive_buffer = 0);
  explicit TestClient(const std::string& path);  // of a Unix socket
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  bool send(std::string_view bytes);  // false: the server closed
  HttpReply read_reply(bool head_only = false);
  bool read_until(std::string_view text);  // leaves it to be read
  bool closed();                           // waits for the server's end
  void close();                            // FIN
  void reset();                            // RST

 private:
  void open(int family);
  bool receive();
  void read_body(HttpReply& reply);
  bool read_chunk(HttpReply& reply);

  int fd_ = -1;
  std::string input_;
};

std::string post(std::string_view path, std::string_view body, std::string_view headers = "");
std::string get(std::string_view path, std::string_view headers = "");

// An error of four keys; `param` "-" is null.
void expect_error(const HttpReply& reply, int status, std::string_view param = "-",
                  std::string_view code = "");

// The data lines of an event stream.
std::vector<std::string> events_of(const HttpReply& reply);

// The choices of a stream, joined by their index.
struct Joined {
  std::map<int, std::string> texts;
  std::map<int, std::string> reasons;
  std::map<int, size_t> logprobs;  // entries
};
Joined join(const HttpReply& reply);

// Every answer is `text`, byte by byte, then the end of generation if `ends`.
EchoGenerator::Script say(const Tokenizer& tokenizer, std::string_view text, bool ends = true);

// A chat's request: one message of a user.
Json chat_with(std::string_view content);

// A server on a free port, an echo behind it, and a vocabulary of bytes.
class ServerTest : public testing::Test {
 protected:
  ServerTest();
  ~ServerTest() override;
  void start(bool with_model = true);

  HttpReply ask(std::string_view request);
  HttpReply ask_completion(const Json& body) { return ask(post("/v1/completions", body.dump())); }
  HttpReply ask_chat(const Json& body) { return ask(post("/v1/chat/completions", body.dump())); }
  ServedModel model() const;

  std::unique_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;
  std::unique_ptr<EchoGenerator> echo;
  ServerOptions options;
  std::unique_ptr<Server> server;
};

}  // namespace millrace
