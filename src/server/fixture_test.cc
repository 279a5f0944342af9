#include "server/fixture_test.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <chrono>
#include <netinet/in.h>
#include <optional>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "chat/chat.h"
#include "tests/fixtures/text/tiny_vocab.h"
#include "text/stream.h"

namespace millrace {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr std::string_view kTemplate =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

std::vector<TokenId> repeat_prompt(const Request& request, int32_t /*choice*/) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < request.stop.tokens_max; ++i) {
    tokens.push_back(request.prompt[static_cast<size_t>(i) % request.prompt.size()]);
  }
  return tokens;
}

std::vector<TokenLogprob> likeliest(TokenId token, int32_t count) {
  std::vector<TokenLogprob> top;
  for (int32_t i = 0; i < count; ++i) {
    top.push_back({(token + i + 1) % 256, -0.25F * static_cast<float>(i + 1)});
  }
  return top;
}

}  // namespace

struct EchoGenerator::Running {
  Request request;
  std::shared_ptr<TokenSink> sink;
  std::vector<std::vector<TokenId>> scripts;
  std::vector<std::unique_ptr<TextStream>> texts;
  std::vector<bool> done;
  size_t at = 0;
  int64_t generated = 0;
  std::optional<absl::Status> ended;
};

EchoGenerator::EchoGenerator(const Tokenizer& tokenizer, int64_t context_max)
    : script(repeat_prompt),
      tokenizer_(tokenizer),
      card_({.id = "echo",
             .context_max = context_max,
             .vocab_size = tokenizer.vocab().size(),
             .created = absl::FromUnixSeconds(1700000000)}),
      thread_([this] { work(); }) {}

EchoGenerator::~EchoGenerator() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

absl::StatusOr<std::vector<RequestId>> EchoGenerator::submit_all(std::vector<Submission> all) {
  const std::lock_guard lock(mutex_);
  int64_t sequences = std::ssize(running_);
  for (const Submission& submission : all) sequences += submission.request.choices;
  if (sequences > queue_max) return resource_exhausted("queue full");
  std::vector<RequestId> ids;
  for (Submission& submission : all) ids.push_back(begin(std::move(submission)));
  return ids;
}

GeneratorStats EchoGenerator::stats() const {
  const std::lock_guard lock(mutex_);
  GeneratorStats stats;
  (held_ ? stats.waiting : stats.running) = std::ssize(running_);
  stats.per_sequence = per_sequence;
  return stats;
}

RequestId EchoGenerator::begin(Submission submission) {
  Request& request = submission.request;
  auto running = std::make_shared<Running>();
  for (int32_t i = 0; i < request.choices; ++i) {
    running->scripts.push_back(script(request, i));
    running->texts.push_back(std::make_unique<TextStream>(
        tokenizer_, TextStream::Options{.stops = request.stop.strings,
                                        .skip_special = request.stop.skip_special,
                                        .unheard = request.stop.tokens_min}));
  }
  running->done.resize(running->scripts.size());
  running->sink = std::move(submission.sink);
  last_ = request;
  running->request = std::move(request);
  const RequestId id = {submitted_++};
  running_.emplace(id, std::move(running));
  changed_.notify_all();
  return id;
}

void EchoGenerator::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(id);
  if (found == running_.end() || found->second->ended) return;
  found->second->ended = absl::CancelledError("cancelled");
  ++cancelled_;
  changed_.notify_all();
}

void EchoGenerator::hold(bool held) {
  const std::lock_guard lock(mutex_);
  held_ = held;
  changed_.notify_all();
}

bool EchoGenerator::wait_for_cancels(int64_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return cancelled_ >= count; });
}

bool EchoGenerator::wait_for_running(int64_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return std::ssize(running_) == count; });
}

Request EchoGenerator::last_request() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

void EchoGenerator::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto any_ended = [this] {
      return std::ranges::any_of(running_,
                                 [](const auto& r) { return r.second->ended.has_value(); });
    };
    changed_.wait(lock, [&] { return stop_ || any_ended() || (!held_ && !running_.empty()); });
    if (stop_) return;
    const auto snapshot = running_;
    const bool held = held_;
    lock.unlock();
    for (const auto& [id, running] : snapshot) {
      if (!held && !running->ended) round(*running);
    }
    if (round_delay > absl::ZeroDuration()) absl::SleepFor(round_delay);
    lock.lock();
    std::vector<std::shared_ptr<Running>> ended;
    for (const auto& [id, running] : snapshot) {
      if (!running->ended) continue;
      ended.push_back(running);
      running_.erase(id);
    }
    lock.unlock();
    for (const auto& running : ended) {
      running->sink->finish({.status = *running->ended,
                             .usage = {std::ssize(running->request.prompt), 1, running->generated},
                             .times = times});
    }
    lock.lock();
    changed_.notify_all();
  }
}

TokenEvent EchoGenerator::next_event(Running& running, size_t choice, size_t at) const {
  const Request& request = running.request;
  const std::vector<TokenId>& tokens = running.scripts[choice];
  TokenEvent event;
  event.choice = static_cast<int32_t>(choice);
  event.position = static_cast<int32_t>(request.prompt.size() + at);
  event.token = tokens[at];
  event.logprob = -0.5F;
  event.top = likeliest(event.token, std::max(request.logprobs, 0));
  const bool end = request.stop.tokens.contains(event.token) ||
                   (!request.stop.ignore_eos && tokenizer_.vocab().ends_generation(event.token));
  if (!end) running.texts[choice]->push(event.token);
  event.stop_string = running.texts[choice]->stopped();
  const auto tokens_max = std::min<int64_t>(std::ssize(tokens), request.stop.tokens_max);
  if (end || event.stop_string >= 0) {
    event.finish = FinishReason::kStop;
  } else if (std::cmp_equal(at + 1, tokens_max)) {
    event.finish = FinishReason::kLength;
  }
  return event;
}

void EchoGenerator::round(Running& running) {
  const Request& request = running.request;
  std::vector<TokenEvent> events;
  if (running.at == 0 && request.prompt_logprobs >= 0) {
    for (size_t i = 1; i < request.prompt.size(); ++i) {
      TokenEvent event;
      event.position = static_cast<int32_t>(i);
      event.token = request.prompt[i];
      event.of_prompt = true;
      event.logprob = -2;
      event.top = likeliest(event.token, request.prompt_logprobs);
      events.push_back(event);
    }
  }
  bool all_done = true;
  for (size_t i = 0; i < running.scripts.size(); ++i) {
    for (size_t k = 0; k < round_tokens && !running.done[i]; ++k) {
      events.push_back(next_event(running, i, running.at + k));
      ++running.generated;
      running.done[i] = events.back().finish != FinishReason::kNone;
    }
    all_done = all_done && running.done[i];
  }
  running.at += round_tokens;
  const bool wanted = running.sink->tokens(events);
  const std::lock_guard lock(mutex_);
  if (running.ended) return;
  if (!wanted) {
    running.ended = absl::CancelledError("nobody listens");
    ++cancelled_;
  } else if (!failure.ok()) {
    running.ended = failure;
  } else if (all_done) {
    running.ended = absl::OkStatus();
  }
}

void TestClient::open(int family) {
  fd_ = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience = {std::chrono::seconds(kPatience).count(), 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

TestClient::TestClient(const std::string& path) {
  open(AF_UNIX);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

TestClient::TestClient(int32_t port, int receive_buffer) {
  open(AF_INET);
  if (receive_buffer > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

TestClient::~TestClient() { close(); }

bool TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool TestClient::receive() {
  char bytes[65536];
  const ssize_t got = recv(fd_, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  input_.append(bytes, static_cast<size_t>(got));
  return true;
}

bool TestClient::read_until(std::string_view text) {
  while (input_.find(text) == std::string::npos) {
    if (!receive()) return false;
  }
  return true;
}

bool TestClient::closed() {
  const auto start = std::chrono::steady_clock::now();
  while (receive()) {
  }
  return std::chrono::steady_clock::now() - start < kPatience - std::chrono::seconds(1);
}

void TestClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void TestClient::reset() {
  const linger hard = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

HttpReply TestClient::read_reply(bool head_only) {
  HttpReply reply;
  if (!read_until("\r\n\r\n")) return reply;
  const size_t head_end = input_.find("\r\n\r\n");
  const std::string head = input_.substr(0, head_end + 2);
  input_.erase(0, head_end + 4);
  if (!head.starts_with("HTTP/1.1 ")) return reply;
  reply.status = std::stoi(head.substr(9, 3));
  if (reply.status == 100) return read_reply(head_only);
  size_t at = head.find("\r\n") + 2;
  while (at < head.size()) {
    const size_t end = head.find("\r\n", at), colon = head.find(": ", at);
    std::string name = head.substr(at, colon - at);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    reply.headers[name] = head.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  if (head_only) {
    reply.whole = true;
  } else {
    read_body(reply);
  }
  return reply;
}

void TestClient::read_body(HttpReply& reply) {
  if (reply.headers.contains("content-length")) {
    const size_t size = std::stoul(reply.headers["content-length"]);
    while (input_.size() < size && receive()) {
    }
    reply.whole = input_.size() >= size;
    reply.body = input_.substr(0, size);
    input_.erase(0, size);
  } else if (reply.headers.contains("transfer-encoding")) {
    while (!reply.whole && read_chunk(reply)) {
    }
  } else {
    while (receive()) {
    }
    reply.body = std::exchange(input_, {});
    reply.whole = true;
  }
}

bool TestClient::read_chunk(HttpReply& reply) {
  if (!read_until("\r\n")) return false;
  const size_t line = input_.find("\r\n"), size = std::stoul(input_, nullptr, 16);
  const size_t end = line + 2 + size + 2;
  while (input_.size() < end && receive()) {
  }
  if (input_.size() < end) return false;
  if (size > 0) reply.chunks.push_back(input_.substr(line + 2, size));
  reply.body += input_.substr(line + 2, size);
  reply.whole = size == 0;
  input_.erase(0, end);
  return true;
}

std::string post(std::string_view path, std::string_view body, std::string_view headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", path,
                     body.size(), headers, body);
}

std::string get(std::string_view path, std::string_view headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, headers);
}

void expect_error(const HttpReply& reply, int status, std::string_view param,
                  std::string_view code) {
  EXPECT_EQ(reply.status, status);
  EXPECT_EQ(reply.headers.at("content-type"), "application/json");
  EXPECT_TRUE(reply.headers.contains("x-request-id"));
  const Json error = reply.json()["error"];
  EXPECT_EQ(error.size(), 4U);
  EXPECT_TRUE(error["message"].is_string() && error["type"].is_string()) << reply.body;
  EXPECT_TRUE(error["code"].is_string() || error["code"].is_null());
  EXPECT_EQ(error["param"].is_null() ? "-" : error["param"].get<std::string>(), param);
  if (!code.empty()) {
    EXPECT_EQ(error["code"].get<std::string>(), code);
  }
}

std::vector<std::string> events_of(const HttpReply& reply) {
  std::vector<std::string> events;
  size_t at = 0;
  while (at < reply.body.size()) {
    const size_t end = reply.body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << reply.body;
    if (end == std::string::npos) break;
    const std::string event = reply.body.substr(at, end - at);
    if (event.starts_with("data: ")) events.push_back(event.substr(6));
    at = end + 2;
  }
  return events;
}

Joined join(const HttpReply& reply) {
  Joined joined;
  for (const std::string& event : events_of(reply)) {
    if (event == "[DONE]") break;
    const Json chunk = Json::parse(event);
    for (const Json& choice : chunk["choices"]) {
      const int index = choice["index"].get<int>();
      if (choice.contains("text")) {
        joined.texts[index] += choice["text"].get<std::string>();
      } else if (choice["delta"].contains("content")) {
        joined.texts[index] += choice["delta"]["content"].get<std::string>();
      }
      if (!choice["logprobs"].is_null()) {
        const Json& logprobs = choice["logprobs"];
        joined.logprobs[index] +=
            logprobs[logprobs.contains("content") ? "content" : "tokens"].size();
      }
      if (!choice["finish_reason"].is_null()) {
        EXPECT_FALSE(joined.reasons.contains(index));
        joined.reasons[index] = choice["finish_reason"].get<std::string>();
      }
    }
  }
  return joined;
}

EchoGenerator::Script say(const Tokenizer& tokenizer, std::string_view text, bool ends) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  if (ends) tokens.push_back(tokenizer.vocab().ends_of_generation().front());
  return [tokens](const Request&, int32_t) { return tokens; };
}

Json chat_with(std::string_view content) {
  return {{"messages", {{{"role", "user"}, {"content", content}}}}};
}

ServerTest::ServerTest() {
  set_up_log(spdlog::level::off);
  TinyVocab vocab = tiny_bpe();
  auto metadata = vocab.metadata("gpt2", "gpt-2");
  auto made = Tokenizer::create(metadata);
  EXPECT_TRUE(made.ok()) << made.status();
  tokenizer = *std::move(made);
  auto parsed = ChatTemplate::parse(kTemplate, "test");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  if (parsed.ok()) chat_template = std::make_shared<const ChatTemplate>(*std::move(parsed));
  echo = std::make_unique<EchoGenerator>(*tokenizer);
  options.address.port = 0;
}

ServerTest::~ServerTest() { server.reset(); }

ServedModel ServerTest::model() const { return {*echo, *tokenizer, chat_template.get()}; }

void ServerTest::start(bool with_model) {
  server = std::make_unique<Server>(options);
  ASSERT_TRUE(server->start().ok());
  if (with_model) server->set_model(model());
}

HttpReply ServerTest::ask(std::string_view request) {
  TestClient client(server->port());
  client.send(request);
  return client.read_reply();
}

}  // namespace millrace
