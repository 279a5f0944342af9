#include "server/fixture_test.h"
#include "server/net/input_budget.h"

namespace millrace {
namespace {

// Each limit made small, met, and passed.
class LimitsTest : public ServerTest {
 protected:
  HttpReply complete(const Json& more) {
    Json body = {{"prompt", "abc"}, {"max_tokens", 1}};
    body.update(more);
    return ask_completion(body);
  }
};

TEST_F(LimitsTest, HeaderBytes) {
  options.limits.header_bytes = 200;
  start();
  EXPECT_EQ(ask(get("/health", "X: " + std::string(100, 'y') + "\r\n")).status, 200);
  expect_error(ask(get("/health", "X: " + std::string(200, 'y') + "\r\n")), 431);
}

TEST_F(LimitsTest, HeaderCount) {
  options.limits.header_count = 3;
  start();
  EXPECT_EQ(ask(get("/health", "A: b\r\nC: d\r\n")).status, 200);
  expect_error(ask(get("/health", "A: b\r\nC: d\r\nE: f\r\n")), 431);
}

TEST_F(LimitsTest, BodyBytes) {
  options.limits.body_bytes = 10;
  start();
  expect_error(ask(post("/v1/completions", std::string(10, ' '))), 400);
  expect_error(ask(post("/v1/completions", std::string(11, ' '))), 413);
  // Known from the head: no 100 Continue.
  expect_error(ask("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\nExpect: "
                   "100-continue\r\n\r\n"),
               413);
}

TEST_F(LimitsTest, InputOfAllConnections) {
  options.limits.input_bytes = 300'000;
  start();
  const auto sized = [](size_t bytes) {
    const Json body = {{"prompt", "abc"}, {"max_tokens", 1}, {"user", std::string(bytes, 'x')}};
    return post("/v1/completions", body.dump());
  };
  echo->hold(true);
  TestClient first(server->port());
  first.send(sized(350'000));
  ASSERT_TRUE(echo->wait_for_running(1));
  expect_error(ask(sized(350'000)), 503);
  TestClient small(server->port());
  small.send(sized(100'000));
  ASSERT_TRUE(echo->wait_for_running(2));
  echo->hold(false);
  EXPECT_EQ(small.read_reply().status, 200);
  EXPECT_EQ(first.read_reply().status, 200);
  first.send(sized(350'000));  // what it held is forgotten
  EXPECT_EQ(first.read_reply().status, 200);
}

TEST_F(LimitsTest, AClientThatFilledTheInputIsSeenToLeave) {
  options.limits.input_bytes = 0;
  start();
  echo->hold(true);
  const std::string_view body = R"({"prompt":"abc","max_tokens":1})";
  const size_t head_bytes = post("/v1/completions", std::string(100'000, ' ')).size() - 100'000;
  std::string request =
      post("/v1/completions", std::string(InputBudget::kShareBytes + 1 - head_bytes, ' '));
  request.replace(head_bytes, body.size(), body);
  TestClient client(server->port());
  client.send(request);  // no more than the last byte is beyond the share
  ASSERT_TRUE(echo->wait_for_running(1));
  client.close();
  EXPECT_TRUE(echo->wait_for_cancels(1));
}

TEST_F(LimitsTest, InputThatIsNotKeptIsNotCounted) {
  options.limits.input_bytes = 0;
  start();
  TestClient client(server->port());
  std::string lines;
  while (lines.size() < 4 * InputBudget::kShareBytes) lines += "\r\n";
  client.send(lines + get("/health"));
  EXPECT_EQ(client.read_reply().status, 200);
  const Json body = {{"prompt", "abc"}, {"max_tokens", 1}, {"user", std::string(100'000, 'x')}};
  for (int i = 0; i < 3; ++i) {
    client.send(lines + post("/v1/completions", body.dump()));
    EXPECT_EQ(client.read_reply().status, 200);
  }
}

TEST_F(LimitsTest, RequestsOfAConnection) {
  options.limits.connection_requests = 3;
  start();
  TestClient client(server->port());
  client.send(get("/health") + get("/nothing") + get("/health") + get("/health"));
  EXPECT_FALSE(client.read_reply().headers.contains("connection"));
  EXPECT_FALSE(client.read_reply().headers.contains("connection"));
  EXPECT_EQ(client.read_reply().headers.at("connection"), "close");
  EXPECT_TRUE(client.closed());
}

TEST_F(LimitsTest, JsonDepthAndKeys) {
  options.limits.json_depth = 3;
  options.limits.json_keys = 4;
  start();
  EXPECT_EQ(complete({{"x", {{1}}}}).status, 200);
  expect_error(complete({{"x", {{{1}}}}}), 400, "x");
  EXPECT_EQ(complete({{"x", 1}, {"y", 1}}).status, 200);
  expect_error(complete({{"x", 1}, {"y", 1}, {"z", 1}}), 400);
}

TEST_F(LimitsTest, Choices) {
  options.limits.choices = 4;
  start();
  EXPECT_EQ(complete({{"n", 4}}).status, 200);
  expect_error(complete({{"n", 5}}), 400, "n");
  expect_error(complete({{"n", 2}, {"prompt", {"a", "b", "c"}}}), 400, "prompt");
}

TEST_F(LimitsTest, Logprobs) {
  options.limits.logprobs = 2;
  start();
  EXPECT_EQ(complete({{"logprobs", 2}}).status, 200);
  expect_error(complete({{"logprobs", 3}}), 400, "logprobs");
  expect_error(complete({{"prompt_logprobs", 3}}), 400, "prompt_logprobs");
  expect_error(ask_chat({{"messages", {{{"role", "user"}, {"content", "a"}}}},
                         {"logprobs", true},
                         {"top_logprobs", 3}}),
               400, "top_logprobs");
}

TEST_F(LimitsTest, AnAnswerOfNoGivenLengthIsJudgedAsItGrows) {
  options.limits.answer_bytes = 1000;
  start();
  Json body = chat_with("a");
  body["logprobs"] = true;
  echo->script = say(*tokenizer, "short");
  EXPECT_EQ(ask_chat(body).status, 200);
  echo->script = say(*tokenizer, std::string(100, 'x'));
  expect_error(ask_chat(body), 503);
  body["stream"] = true;
  EXPECT_EQ(join(ask_chat(body)).logprobs.at(0), 101U);
}

TEST_F(LimitsTest, AnswersAboutTokens) {
  options.limits.answer_bytes = 60;
  start();
  const auto asked = [&](const char* path, const Json& body) {
    return ask(post(path, body.dump()));
  };
  // {"tokens":[ and then a token and a comma each.
  EXPECT_EQ(asked("/tokenize", {{"content", std::string(16, '0')}}).status, 200);
  expect_error(asked("/tokenize", {{"content", std::string(17, '0')}}), 400, "content");
  expect_error(asked("/tokenize", {{"content", "000"}, {"with_pieces", true}}), 400, "content");
  EXPECT_EQ(asked("/tokenize", {{"prompt", "00"}}).status, 200);
  expect_error(asked("/tokenize", {{"prompt", std::string(20, '0')}}), 400, "prompt");
  expect_error(asked("/tokenize", {{"prompt", "00"}, {"return_token_strs", true}}), 400, "prompt");
  expect_error(asked("/tokenize", {{"messages", {{{"role", "user"}, {"content", "a"}}}}}), 400,
               "messages");
  EXPECT_EQ(asked("/detokenize", {{"tokens", std::vector<int>(30, 48)}}).status, 200);
  expect_error(asked("/detokenize", {{"tokens", std::vector<int>(31, 48)}}), 400, "tokens");
}

TEST_F(LimitsTest, TokensAndWordsThatAreLookedAtInEachStep) {
  options.limits.stop_tokens = 2;
  options.limits.bad_word_bytes = 5;
  start();
  EXPECT_EQ(complete({{"stop_token_ids", {9, 8, 9, 8, 9}}}).status, 200);  // two of them
  expect_error(complete({{"stop_token_ids", {7, 8, 9}}}), 400, "stop_token_ids");
  EXPECT_EQ(complete({{"bad_words", {"abc", "de"}}}).status, 200);
  expect_error(complete({{"bad_words", {"abc", "def"}}}), 400, "bad_words");
}

TEST_F(LimitsTest, StopsAndBiases) {
  options.limits.stops = 2;
  options.limits.stop_bytes = 3;
  options.limits.biases = 1;
  start();
  EXPECT_EQ(complete({{"stop", {"123", "4"}}}).status, 200);
  expect_error(complete({{"stop", {"1", "2", "3"}}}), 400, "stop");
  expect_error(complete({{"stop", {"1", "1234"}}}), 400, "stop[1]");
  expect_error(complete({{"stop", "1234"}}), 400, "stop");
  EXPECT_EQ(complete({{"logit_bias", {{"1", 1}}}}).status, 200);
  expect_error(complete({{"logit_bias", {{"1", 1}, {"2", 1}}}}), 400, "logit_bias");
}

TEST_F(LimitsTest, TokensInAll) {
  options.limits.tokens = 20;
  start();
  EXPECT_EQ(complete({{"max_tokens", 17}}).status, 200);  // and three of the prompt
  expect_error(complete({{"max_tokens", 18}}), 400, "max_tokens");
  EXPECT_EQ(complete({{"max_tokens", 8}, {"n", 2}}).status, 200);
  expect_error(complete({{"max_tokens", 9}, {"n", 2}}), 400, "max_tokens");
  expect_error(complete({{"max_tokens", 8}, {"prompt", {"abc", "abc"}}}), 400, "max_tokens");
}

TEST_F(LimitsTest, AnswerBytes) {
  options.limits.answer_bytes = 960;  // ten log-probabilities
  start();
  const auto chosen = [&](const char* field, int tokens_max, int n) {
    return complete({{field, 0}, {"max_tokens", tokens_max}, {"n", n}});
  };
  EXPECT_EQ(chosen("logprobs", 10, 1).status, 200);
  expect_error(chosen("logprobs", 11, 1), 400, "logprobs");
  expect_error(chosen("logprobs", 6, 2), 400, "logprobs");
  expect_error(complete({{"logprobs", 4}, {"max_tokens", 3}}), 400, "logprobs");
  // What a stream sends as it comes needs no room.
  EXPECT_EQ(complete({{"logprobs", 4}, {"max_tokens", 3}, {"stream", true}}).status, 200);
  // A prompt of three tokens, in each choice.
  EXPECT_EQ(chosen("prompt_logprobs", 1, 3).status, 200);
  expect_error(chosen("prompt_logprobs", 1, 4), 400, "prompt_logprobs");
  const Json echoing = {{"echo", true}, {"logprobs", 0}, {"stream", true}};
  EXPECT_EQ(complete(echoing).status, 200);
  Json more = echoing;
  more["n"] = 4;
  expect_error(complete(more), 400, "echo");
  EXPECT_EQ(complete({{"echo", true}, {"prompt", std::string(960, 'x')}}).status, 200);
  expect_error(complete({{"echo", true}, {"prompt", std::string(961, 'x')}}), 400, "echo");
  EXPECT_EQ(complete({{"return_token_ids", true}, {"n", 40}}).status, 200);
  expect_error(complete({{"return_token_ids", true}, {"n", 41}}), 400, "return_token_ids");
  // A chat has its prompt's beside the choices, once.
  Json chat = {{"messages", {{{"role", "user"}, {"content", "a"}}}},
               {"return_token_ids", true},
               {"max_tokens", 1},
               {"n", 128}};
  EXPECT_EQ(ask_chat(chat).status, 200);
}

}  // namespace
}  // namespace millrace
