#include <algorithm>
#include <chrono>
#include <string>

#include "server/fixture_test.h"

namespace millrace {
namespace {

using std::string_literals::operator""s;

using HttpTest = ServerTest;

const Json kShort = {{"prompt", "abc"}, {"max_tokens", 2}};

TEST_F(HttpTest, RoutesAndMethods) {
  start();
  expect_error(ask(get("/nothing")), 404);
  expect_error(ask(post("/", "{}")), 404);
  const HttpReply wrong = ask(get("/v1/chat/completions"));
  expect_error(wrong, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST");
  const HttpReply other = ask(post("/v1/models", "{}"));
  expect_error(other, 405);
  EXPECT_EQ(other.headers.at("allow"), "GET, HEAD");
  EXPECT_EQ(ask(get("/health?x=1")).status, 200);
  EXPECT_EQ(ask(get("http://localhost/health")).status, 200);
  TestClient client(server->port());
  client.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/health"));
  const HttpReply head = client.read_reply(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_NE(head.headers.at("content-length"), "0");
  EXPECT_EQ(client.read_reply().json()["status"], "ok");
}

TEST_F(HttpTest, ModelsAndTheirNames) {
  options.model_names = {"first", "second"};
  start();
  const Json models = ask(get("/v1/models")).json();
  EXPECT_EQ(models["object"], "list");
  ASSERT_EQ(models["data"].size(), 2U);
  EXPECT_EQ(models["data"][1]["id"], "second");
  EXPECT_EQ(models["data"][0]["object"], "model");
  EXPECT_EQ(models["data"][0]["created"], 1700000000);
  EXPECT_EQ(models["data"][0]["max_model_len"], 4096);
  EXPECT_EQ(ask_completion(kShort).json()["model"], "first");
  Json named = kShort;
  named["model"] = "second";
  EXPECT_EQ(ask_completion(named).json()["model"], "second");
  named["model"] = "third";
  expect_error(ask_completion(named), 404, "model", "model_not_found");
}

TEST_F(HttpTest, AnswersOnlyOnceThereIsAModel) {
  start(false);
  for (const auto& request :
       {get("/health"), get("/ready"), get("/v1/models"), post("/v1/completions", kShort.dump())}) {
    expect_error(ask(request), 503);
  }
  server->set_model(model());
  EXPECT_EQ(ask(get("/health")).status, 200);
  EXPECT_EQ(ask(get("/ready")).status, 200);
  EXPECT_EQ(ask_completion(kShort).status, 200);
}

TEST_F(HttpTest, PortTakenIsOneLine) {
  start();
  ServerOptions same = options;
  same.address.port = server->port();
  Server second(same);
  const absl::Status status = second.start();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find(std::to_string(same.address.port).c_str()),
            absl::string_view::npos);
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
}

TEST_F(HttpTest, RequestIdsAreEchoedOrMade) {
  start();
  EXPECT_EQ(ask(get("/health", "X-Request-Id: mine-1\r\n")).headers.at("x-request-id"), "mine-1");
  const std::string made = ask(get("/health")).headers.at("x-request-id");
  EXPECT_GT(made.size(), 16U);
  EXPECT_NE(ask(get("/health")).headers.at("x-request-id"), made);
  const std::string spaced = "a b";
  EXPECT_NE(ask(get("/health", "X-Request-Id: a b\r\n")).headers.at("x-request-id"), spaced);
  EXPECT_EQ(ask(get("/no", "X-Request-Id: mine-2\r\n")).headers.at("x-request-id"), "mine-2");
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\nX-Request-Id: mine-3\r\n\r\n").headers.at("x-request-id"),
            "mine-3");
}

TEST_F(HttpTest, HostileBytesAre400AndAClose) {
  start();
  const std::string body = kShort.dump();
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";
  const std::string length = fmt::format("Content-Length: {}\r\n", body.size());
  const std::string bad[] = {
      head + length + length + "\r\n" + body,
      head + length + "Content-Length: 3\r\n\r\n" + body,
      head + fmt::format("Content-Length: {0}, {0}\r\n\r\n", body.size()) + body,
      head + "Content-Length: -1\r\n\r\n" + body,
      head + "Content-Length: +2\r\n\r\n{}",
      head + "Content-Length: 0x2\r\n\r\n{}",
      head + "Content-Length: 99999999999999999999999\r\n\r\n" + body,
      head + length + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\n" + length + "\r\n0\r\n\r\n",
      head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      head + "Transfer-Encoding: xchunked\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
      "POST /v1/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "GET /health HTTP/1.1\r\n\r\n",
      "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET /health HTTP/1.1\nHost: t\n\n",
      "GET /health HTTP/1.1\r\nHost: t\nX: y\r\n\r\n",
      "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
      "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n"s,
      "GET /hea\0lth HTTP/1.1\r\nHost: localhost\r\n\r\n"s,
      "GET /health HTTP/1.1\r\nHost : t\r\n\r\n",
      "GET /health HTTP/1.1\r\n: t\r\n\r\n",
      "GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
      "GET /health\r\n\r\n",
      "\x16\x03\x01\x02 hello over TLS\r\n\r\n",
      "junk\r\n\r\n",
  };
  for (const std::string& bytes : bad) {
    TestClient client(server->port());
    client.send(bytes);
    const HttpReply reply = client.read_reply();
    EXPECT_EQ(reply.status, 400) << bytes;
    if (reply.status == 400) expect_error(reply, 400);
    EXPECT_TRUE(client.closed()) << bytes;
  }
  EXPECT_EQ(ask_completion(kShort).status, 200);
}

TEST_F(HttpTest, LimitsOfHeadAndBody) {
  options.limits.body_bytes = 1000;
  start();
  std::string many;
  for (int i = 0; i < 101; ++i) many += fmt::format("X-{}: y\r\n", i);
  expect_error(ask(get("/health", many)), 431);
  expect_error(ask(get("/health", "X: " + std::string(70000, 'y') + "\r\n")), 431);
  expect_error(ask("GET /" + std::string(70000, 'y') + " HTTP/1.1\r\nHost: localhost\r\n\r\n"),
               431);
  EXPECT_EQ(ask(get("/health", "X: " + std::string(60000, 'y') + "\r\n")).status, 200);
  expect_error(ask(post("/v1/completions", std::string(1001, ' '))), 413);
  const std::string head =
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  expect_error(ask(head + "3e9\r\n" + std::string(1001, ' ') + "\r\n0\r\n\r\n"), 413);
  expect_error(ask(head + "0\r\nX: " + std::string(65535, 'x') + "\r\n\r\n"), 431);
  expect_error(ask(head + "1;" + std::string(100000, 'x') + "\r\n \r\n0\r\n\r\n"), 431);
  expect_error(ask(head + "0\r\nX: " + std::string(100000, 'x') + "\r\n\r\n"), 431);
}

TEST_F(HttpTest, BodiesThatAreNotRequests) {
  start();
  std::string keys = "{";
  for (int i = 0; i < 100000; ++i) keys += fmt::format("\"k{}\":{},", i, i);
  const std::string nested = "{\"prompt\":" + std::string(100000, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("null"), std::string("[1]"),
        std::string("{\"prompt\":\"a\",\"prompt\":\"b\"}"), keys + "\"prompt\":1}", nested,
        std::string("{\"prompt\":\"\xc3\x28\"}"), std::string("{}\0", 3), std::string(1000000, ' '),
        std::string(1000000, '"')}) {
    EXPECT_EQ(ask(post("/v1/completions", body)).status, 400);
    EXPECT_EQ(ask(post("/v1/chat/completions", body)).status, 400);
  }
  EXPECT_EQ(ask_completion(kShort).status, 200);
}

TEST_F(HttpTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  TestClient client(server->port());
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    const Json body = {{"prompt", std::string(1, static_cast<char>('a' + i))}, {"max_tokens", 3}};
    requests += post("/v1/completions", body.dump(), i % 2 == 0 ? "" : "X-Odd: 1\r\n") + "\r\n";
    requests += get("/health");
  }
  client.send(requests);
  for (int i = 0; i < 20; ++i) {
    const HttpReply reply = client.read_reply();
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.json()["choices"][0]["text"], std::string(3, static_cast<char>('a' + i)));
    EXPECT_EQ(client.read_reply().status, 200);
  }
}

TEST_F(HttpTest, EmptyLinesAheadAreSkipped) {
  start();
  echo->hold(true);
  TestClient client(server->port());
  client.send(post("/v1/completions", kShort.dump()));
  ASSERT_TRUE(echo->wait_for_running(1));
  std::string lines;
  for (int i = 0; i < 60'000; ++i) lines += "\r\n";
  client.send(lines + get("/health"));
  echo->hold(false);
  EXPECT_EQ(client.read_reply().status, 200);
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpTest, ChunkedBodiesAndContinue) {
  start();
  const std::string body = kShort.dump();
  std::string chunks;
  for (const char c : body) chunks += fmt::format("1\r\n{}\r\n", c);
  EXPECT_EQ(
      ask("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
          chunks + "0\r\n\r\n")
          .status,
      200);
  TestClient client(server->port());
  client.send(
      fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                  "Content-Length: {}\r\n\r\n",
                  body.size()));
  ASSERT_TRUE(client.read_until("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send(body);
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpTest, OldClientsGetNoChunksAndAClose) {
  start();
  const std::string streamed = R"({"prompt":"abc","max_tokens":3,"stream":true})";
  TestClient client(server->port());
  client.send(fmt::format("POST /v1/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n{}",
                          streamed.size(), streamed));
  const HttpReply reply = client.read_reply();
  EXPECT_FALSE(reply.headers.contains("transfer-encoding"));
  EXPECT_EQ(reply.headers.at("connection"), "close");
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(events_of(reply).back(), "[DONE]");

  TestClient kept(server->port());
  kept.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.read_reply().headers.at("connection"), "keep-alive");
  kept.send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(kept.read_reply().headers.at("connection"), "close");
  EXPECT_TRUE(kept.closed());
}

TEST_F(HttpTest, SlowHeadsAndBodiesAreGivenUp) {
  options.limits.head_timeout = options.limits.body_timeout = absl::Milliseconds(50);
  start();
  TestClient head(server->port());
  head.send("GET /health HTTP/1.1\r\nHos");
  expect_error(head.read_reply(), 408);
  EXPECT_TRUE(head.closed());
  TestClient body(server->port());
  body.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{");
  expect_error(body.read_reply(), 408);
  EXPECT_TRUE(body.closed());
}

TEST_F(HttpTest, IdleConnectionsAreClosed) {
  options.limits.idle_timeout = absl::Milliseconds(50);
  start();
  TestClient silent(server->port());
  EXPECT_TRUE(silent.closed());
  // On a busy machine a connection may be idle before its request is sent; then another tries.
  bool answered = false;
  for (int attempt = 0; attempt < 50 && !answered; ++attempt) {
    TestClient once(server->port());
    once.send(get("/health"));
    answered = once.read_reply().status == 200;
    EXPECT_TRUE(once.closed());
  }
  EXPECT_TRUE(answered);
}

TEST_F(HttpTest, AnIdleConnectionOutlivesItsClientsPoolAndSaysForHowLong) {
  start();
  EXPECT_GT(options.limits.idle_timeout, absl::Seconds(90));
  EXPECT_EQ(ask(get("/health")).headers.at("keep-alive"), "timeout=120");
  const HttpReply stream = ask_completion({{"prompt", "a"}, {"stream", true}});
  EXPECT_EQ(stream.headers.at("keep-alive"), "timeout=120");
  EXPECT_EQ(stream.headers.at("x-accel-buffering"), "no");
  EXPECT_FALSE(ask(get("/health", "Connection: close\r\n")).headers.contains("keep-alive"));
}

// A request that comes when the connection has just been closed for being idle is not reset: its
// client sees an end without an answer, after which it may ask again.
TEST_F(HttpTest, ALateRequestMeetsAnEndAndNoReset) {
  options.limits.idle_timeout = absl::Milliseconds(20);
  start();
  TestClient client(server->port());
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(client.send(get("/health")));
  EXPECT_TRUE(client.send(get("/health")));
  EXPECT_TRUE(client.closed());
}

TEST_F(HttpTest, ConnectionsAreLimited) {
  options.limits.connections = 2;
  start();
  echo->hold(true);
  TestClient first(server->port()), second(server->port());
  for (TestClient* client : {&first, &second}) {
    client->send(post("/v1/completions", kShort.dump()));
  }
  ASSERT_TRUE(echo->wait_for_running(2));
  TestClient third(server->port());
  expect_error(third.read_reply(), 503);
  EXPECT_TRUE(third.closed());
  echo->hold(false);
  EXPECT_EQ(first.read_reply().status, 200);
}

TEST_F(HttpTest, AnIdleConnectionMakesRoom) {
  options.limits.connections = 3;
  start();
  echo->hold(true);
  TestClient busy(server->port());
  busy.send(post("/v1/completions", kShort.dump()));
  ASSERT_TRUE(echo->wait_for_running(1));
  TestClient asked(server->port());
  TestClient never(server->port());
  never.send("GET /hea");
  asked.send(get("/health"));
  EXPECT_EQ(asked.read_reply().status, 200);
  for (int i = 0; i < 5; ++i) {
    TestClient next(server->port());
    next.send(get("/health"));
    EXPECT_EQ(next.read_reply().status, 200) << i;
  }
  EXPECT_TRUE(never.closed());
  echo->hold(false);
  EXPECT_EQ(busy.read_reply().status, 200);
}

TEST_F(HttpTest, AClientThatLeavesCancelsItsRequest) {
  start();
  echo->hold(true);
  int64_t cancels = 0;
  for (const bool stream : {false, true}) {
    for (const bool hard : {false, true}) {
      TestClient client(server->port());
      const Json body = {{"prompt", "abc"}, {"max_tokens", 100}, {"n", 2}, {"stream", stream}};
      client.send(post("/v1/completions", body.dump()));
      ASSERT_TRUE(echo->wait_for_running(1));
      hard ? client.reset() : client.close();
      EXPECT_TRUE(echo->wait_for_cancels(++cancels));
      EXPECT_TRUE(echo->wait_for_running(0));
    }
  }
  // In mid-stream too.
  echo->round_delay = absl::Milliseconds(1);
  TestClient client(server->port());
  const Json body = {{"prompt", "abc"}, {"max_tokens", 4000}, {"stream", true}};
  client.send(post("/v1/completions", body.dump()));
  echo->hold(false);
  ASSERT_TRUE(client.read_until("data: "));
  client.close();
  EXPECT_TRUE(echo->wait_for_cancels(++cancels));
  EXPECT_EQ(ask_completion(kShort).status, 200);
}

TEST_F(HttpTest, PipelinedStreamsComeInTurn) {
  start();
  TestClient client(server->port());
  std::string requests;
  for (const char* prompt : {"ab", "cd", "ef"}) {
    const Json body = {{"prompt", prompt}, {"max_tokens", 40}, {"stream", true}};
    requests += post("/v1/completions", body.dump());
  }
  client.send(requests);
  for (const char* prompt : {"ab", "cd", "ef"}) {
    const HttpReply reply = client.read_reply();
    EXPECT_TRUE(reply.whole);
    const std::vector<std::string> events = events_of(reply);
    ASSERT_EQ(events.size(), 42U);
    std::string text;
    for (size_t i = 0; i < 40; ++i) {
      text += Json::parse(events[i])["choices"][0]["text"].get<std::string>();
    }
    std::string expected;
    for (int i = 0; i < 20; ++i) expected += prompt;
    EXPECT_EQ(text, expected);
    EXPECT_EQ(events.back(), "[DONE]");
  }
}

TEST_F(HttpTest, AClientThatReadsNothingIsCancelled) {
  options.limits.stall_timeout = absl::Milliseconds(100);
  options.limits.pending_bytes = int64_t{1} << 40;  // nothing else ends it
  echo = std::make_unique<EchoGenerator>(*tokenizer, 1 << 22);
  start();
  TestClient client(server->port(), 4096);
  // More tokens than are made while the client stalls: an answer that has ended is not cancelled.
  const Json body = {{"prompt", "abc"}, {"max_tokens", 4000000}, {"stream", true}};
  client.send(post("/v1/completions", body.dump()));
  EXPECT_TRUE(echo->wait_for_cancels(1));
  EXPECT_TRUE(echo->wait_for_running(0));
}

TEST_F(HttpTest, WhatWaitsForASlowClientIsBounded) {
  options.limits.pending_bytes = 100000;
  echo = std::make_unique<EchoGenerator>(*tokenizer, 1 << 20);
  start();
  TestClient client(server->port(), 4096);
  const Json body = {{"prompt", "abc"}, {"max_tokens", 400000}, {"n", 4}, {"stream", true}};
  client.send(post("/v1/completions", body.dump()));
  EXPECT_TRUE(echo->wait_for_cancels(1));
}

TEST_F(HttpTest, SilentStreamsArePinged) {
  options.limits.ping_interval = absl::Milliseconds(30);
  start();
  echo->hold(true);
  TestClient client(server->port());
  client.send(post("/v1/completions", R"({"prompt":"abc","max_tokens":3,"stream":true})"));
  ASSERT_TRUE(client.read_until("\r\n: ping\n\n\r\n"));
  echo->hold(false);
  EXPECT_EQ(events_of(client.read_reply()).back(), "[DONE]");
}

TEST_F(HttpTest, AFullQueueIs429) {
  echo->queue_max = 2;
  start();
  const HttpReply reply = ask_completion({{"prompt", "abc"}, {"n", 3}});
  expect_error(reply, 429, "-", "rate_limit_exceeded");
  EXPECT_GE(std::stoi(reply.headers.at("retry-after")), 1);
  // Of a list, all or none.
  echo->hold(true);
  expect_error(ask_completion({{"prompt", {"a", "b", "c"}}}), 429);
  EXPECT_TRUE(echo->wait_for_running(0));
}

TEST_F(HttpTest, DrainLetsRequestsFinishAndRefusesNewOnes) {
  start();
  echo->hold(true);
  TestClient idle(server->port()), busy(server->port()), next(server->port());
  TestClient about_to_ask(server->port());
  idle.send(get("/health"));
  EXPECT_EQ(idle.read_reply().status, 200);
  busy.send(post("/v1/completions", kShort.dump()));
  ASSERT_TRUE(echo->wait_for_running(1));
  server->begin_drain();
  EXPECT_TRUE(idle.closed());
  about_to_ask.send(get("/ready"));
  expect_error(about_to_ask.read_reply(), 503);
  EXPECT_TRUE(about_to_ask.closed());
  EXPECT_EQ(ask(get("/health")).status, 200);
  expect_error(ask(get("/ready")), 503);
  const HttpReply refused = ask_completion(kShort);
  expect_error(refused, 503);
  EXPECT_EQ(refused.headers.at("connection"), "close");
  EXPECT_FALSE(server->wait_idle(absl::Milliseconds(1)));
  echo->hold(false);
  EXPECT_EQ(busy.read_reply().status, 200);
  EXPECT_TRUE(server->wait_idle(absl::Seconds(10)));
  server->stop();
}

TEST_F(HttpTest, StopEndsWhatStillRuns) {
  start();
  echo->round_delay = absl::Milliseconds(1);
  TestClient plain(server->port()), stream(server->port()), silent(server->port());
  const Json body = {{"prompt", "abc"}, {"max_tokens", 4000}};
  Json streamed = body;
  streamed["stream"] = true;
  plain.send(post("/v1/completions", body.dump()));
  stream.send(post("/v1/completions", streamed.dump()));
  ASSERT_TRUE(stream.read_until("data: "));
  ASSERT_TRUE(echo->wait_for_running(2));
  server->begin_drain();
  EXPECT_FALSE(server->wait_idle(absl::Milliseconds(1)));
  server->stop();
  expect_error(plain.read_reply(), 503);
  const std::vector<std::string> events = events_of(stream.read_reply());
  ASSERT_GE(events.size(), 2U);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_TRUE(Json::parse(events[events.size() - 2]).contains("error"));
  EXPECT_TRUE(silent.closed());
  EXPECT_TRUE(echo->wait_for_running(0));
}

}  // namespace
}  // namespace millrace
