#include "server/routes/routes.h"

#include "chat/chat.h"
#include "server/fixture_test.h"
#include "tests/fixtures/text/tiny_vocab.h"

namespace millrace {
namespace {

class RoutesTest : public ServerTest {
 protected:
  HttpReply ask_json(std::string_view path, const Json& body) {
    return ask(post(path, body.dump()));
  }
};

Json user(std::string_view content) {
  Json message;
  message["role"] = "user";
  message["content"] = content;
  return message;
}

// A body of messages, each a role and a content.
Json chat(std::initializer_list<std::pair<const char*, const char*>> messages) {
  Json body;
  for (const auto& [role, content] : messages) {
    body["messages"].push_back(user(content));
    body["messages"].back()["role"] = role;
  }
  return body;
}

TEST_F(RoutesTest, ModelsHaveTheirOwnPaths) {
  options.model_names = {"org/a model", "second"};
  start();
  for (const char* path : {"/v1/models/org%2Fa%20model", "/v1/models/org/a%20model"}) {
    const HttpReply reply = ask(get(path));
    EXPECT_EQ(reply.status, 200) << path;
    EXPECT_EQ(reply.json(), ask(get("/v1/models")).json()["data"][0]);
  }
  EXPECT_EQ(ask(get("/v1/models/second")).json()["id"], "second");
  for (const char* path : {"/v1/models/third", "/v1/models/second%", "/v1/models/%00"}) {
    const HttpReply reply = ask(get(path));
    EXPECT_EQ(reply.status, 404) << path;
    EXPECT_EQ(reply.json()["error"]["code"], "model_not_found") << path;
  }
  EXPECT_EQ(ask(get("/v1/models/")).json()["error"]["code"], "not_found");
  EXPECT_EQ(ask(post("/v1/models/second", "")).headers.at("allow"), "GET, HEAD");
}

TEST_F(RoutesTest, AnUnknownPathIsToldTheNearest) {
  start();
  const auto said = [&](std::string_view path) {
    const HttpReply reply = ask(get(path));
    expect_error(reply, 404, "-", "not_found");
    return reply.json()["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(said("/v1/completion"),
            "There is nothing at /v1/completion; the nearest is POST /v1/completions.");
  for (const auto& [path, nearest] : std::initializer_list<std::pair<const char*, const char*>>{
           {"/v1/chat/completion", "POST /v1/chat/completions"},
           {"/v1/v1/chat/completions", "POST /v1/chat/completions"},
           {"/v1/chat/completions/", "POST /v1/chat/completions"},
           {"/v1/model", "GET /v1/models"},
           {"/helth", "GET /health"},
           {"/metrics/", "GET /metrics"},
           {"/v1/responses", "POST /v1/chat/completions"},
           {"/v1/responses/resp_1/cancel", "POST /v1/chat/completions"},
           {"/v1/messages", "POST /v1/chat/completions"},
           {"/v1/messages/count_tokens", "POST /tokenize"},
           {"/v1/embeddings", "no embeddings"},
           {"/api/chat", "POST /v1/chat/completions"},
           {"/api/generate", "POST /v1/completions"},
           {"/api/tags", "GET /v1/models"},
           {"/completion", "POST /v1/completions"},
           {"/infill", "POST /v1/completions"},
           {"/generate_stream", "POST /v1/completions"},
           {"/v1/rerank", "ranks"},
           {"/v1/audio/transcriptions", "text alone"}}) {
    const std::string message = said(path);
    EXPECT_EQ(message.find(fmt::format("There is nothing at {}", path)), 0U) << message;
    EXPECT_NE(message.find(nearest), std::string::npos) << message;
  }
  EXPECT_LT(said("/" + std::string(50000, 'x')).size(), 400U);
}

TEST_F(RoutesTest, AnUnknownModelIsToldThoseThatAreServed) {
  options.model_names = {"first", "second"};
  start();
  for (const HttpReply& reply :
       {ask_json("/v1/completions", {{"model", "x"}, {"prompt", "a"}}), ask(get("/v1/models/x"))}) {
    expect_error(reply, 404, "model", "model_not_found");
    EXPECT_EQ(reply.json()["error"]["message"],
              "The model `x` does not exist. Served: `first`, `second`.");
  }
}

TEST_F(RoutesTest, PingAnswersBothMethods) {
  start();
  EXPECT_EQ(ask(get("/ping")).status, 200);
  EXPECT_EQ(ask(post("/ping", "")).status, 200);
  EXPECT_EQ(ask(post("/ping", "{}")).status, 200);
  EXPECT_EQ(ask("PUT /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").headers.at("allow"),
            "GET, HEAD, POST");
  echo->set_healthy(false);
  EXPECT_EQ(ask(get("/ping")).status, 503);
}

TEST_F(RoutesTest, NPredictOfMinusOneIsTheRestOfTheContext) {
  start();
  ASSERT_EQ(ask_json("/v1/completions", {{"prompt", "abc"}}).status, 200);
  EXPECT_EQ(echo->last_request().stop.tokens_max, 16);
  const Json unbounded = {{"prompt", "abc"}, {"n_predict", -1}, {"stop", "ca"}};
  ASSERT_EQ(ask_json("/v1/completions", unbounded).status, 200);
  EXPECT_EQ(echo->last_request().stop.tokens_max, 4093);
}

TEST_F(RoutesTest, WhatOperatesAnswersWithoutAModel) {
  start(false);
  EXPECT_EQ(ask(get("/version")).body, R"({"version":")" MILLRACE_VERSION R"("})");
  EXPECT_EQ(ask(get("/openapi.json")).status, 200);
  EXPECT_EQ(ask(get("/v1/models/echo")).status, 503);
  EXPECT_EQ(ask_json("/tokenize", {{"content", "a"}}).status, 503);
}

TEST_F(RoutesTest, TokenizeAsLlamaServerDoes) {
  start();
  EXPECT_EQ(ask_json("/tokenize", {{"content", "ab"}}).body, R"({"tokens":[97,98]})");
  EXPECT_EQ(ask_json("/tokenize", {{"content", ""}}).body, R"({"tokens":[]})");
  const TokenId end = *tokenizer->vocab().find("<|im_end|>");
  EXPECT_EQ(ask_json("/tokenize", {{"content", "<|im_end|>"}}).json()["tokens"].dump(),
            fmt::format("[{}]", end));
  EXPECT_EQ(ask_json("/tokenize", {{"content", "<|im_end|>"}, {"parse_special", false}})
                .json()["tokens"]
                .size(),
            10U);
  EXPECT_EQ(ask_json("/tokenize", {{"content", "aé"}, {"with_pieces", true}}).body,
            R"({"tokens":[{"id":97,"piece":"a"},{"id":195,"piece":[195]},)"
            R"({"id":169,"piece":[169]}]})");
}

TEST_F(RoutesTest, TokenizeAsVllmDoes) {
  start();
  EXPECT_EQ(ask_json("/tokenize", {{"prompt", "ab"}, {"model", "echo"}}).body,
            R"({"count":2,"max_model_len":4096,"tokens":[97,98],"token_strs":null})");
  EXPECT_EQ(ask_json("/tokenize", {{"prompt", "aé"}, {"return_token_strs", true}})
                .json()["token_strs"]
                .dump(),
            "[\"a\",\"\uFFFD\",\"\uFFFD\"]");
  EXPECT_EQ(ask_json("/tokenize", {{"prompt", ""}}).json()["count"], 0);
  const HttpReply other = ask_json("/tokenize", {{"prompt", "a"}, {"model", "other"}});
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(other.json()["error"]["param"], "model");

  // The same tokens as the chat itself is made of.
  const Json body = chat({{"user", "<|im_end|>"}});
  const Json counted = ask_json("/tokenize", body).json();
  ask_chat(body);
  EXPECT_EQ(counted["tokens"].get<std::vector<TokenId>>(), echo->last_request().prompt);
  Json bare = body;
  bare["add_generation_prompt"] = false;
  EXPECT_LT(ask_json("/tokenize", bare).json()["count"], counted["count"]);
}

TEST_F(RoutesTest, DetokenizeAnswersBothDialects) {
  start();
  EXPECT_EQ(ask_json("/detokenize", {{"tokens", {97, 195, 169, 255}}}).body,
            "{\"prompt\":\"aé\uFFFD\",\"content\":\"aé\uFFFD\"}");
  EXPECT_EQ(ask(post("/detokenize", R"({"tokens":[]})")).json()["content"], "");
  const TokenId end = *tokenizer->vocab().find("<|im_end|>");
  EXPECT_EQ(ask(post("/detokenize", fmt::format(R"({{"tokens":[{}]}})", end))).json()["content"],
            "<|im_end|>");
  EXPECT_EQ(ask(post("/detokenize", R"({"tokens":[1,99999]})")).json()["error"]["param"],
            "tokens[1]");
}

TEST_F(RoutesTest, OnlyAPromptGetsWhatBeginsAText) {
  TinyVocab vocab = tiny_bpe();
  auto metadata = vocab.metadata("gpt2", "gpt-2");
  metadata.set_integer("tokenizer.ggml.bos_token_id", MetaType::kU32, 'B');
  metadata.set_boolean("tokenizer.ggml.add_bos_token", true);
  auto made = Tokenizer::create(metadata);
  ASSERT_TRUE(made.ok()) << made.status();
  echo.reset();
  tokenizer = *std::move(made);
  echo = std::make_unique<EchoGenerator>(*tokenizer);
  start();
  const auto tokens = [&](const Json& body) {
    return ask_json("/tokenize", body).json()["tokens"].dump();
  };
  EXPECT_EQ(tokens({{"content", "a"}}), "[97]");
  EXPECT_EQ(tokens({{"content", "a"}, {"add_special", true}}), "[66,97]");
  EXPECT_EQ(tokens({{"prompt", "a"}}), "[66,97]");
  EXPECT_EQ(tokens({{"prompt", "a"}, {"add_special_tokens", false}}), "[97]");
  ask_completion({{"prompt", "a"}});
  EXPECT_EQ(echo->last_request().prompt, (std::vector<TokenId>{'B', 'a'}));
}

TEST_F(RoutesTest, ErrorsOfATemplateSayNothingOfIt) {
  for (const char* source :
       {"{#secret#}{{ raise_exception('no pirates') }}", "{#secret#}{{ messages[0].content + 1 }}",
        "{#secret#}{{ 'x' * 100000000 }}"}) {
    auto parsed = ChatTemplate::parse(source, "secret.jinja");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    chat_template = std::make_shared<const ChatTemplate>(*std::move(parsed));
    start();
    const HttpReply reply = ask_json("/apply-template", chat({{"user", "hi"}}));
    expect_error(reply, 400, "messages");
    const auto message = reply.json()["error"]["message"].get<std::string>();
    EXPECT_TRUE(message.starts_with("the chat template refuses these messages: ")) << message;
    EXPECT_EQ(message.find("secret"), std::string::npos) << message;
    EXPECT_EQ(message.find("{{"), std::string::npos) << message;
    server.reset();
  }
}

TEST_F(RoutesTest, TemplatesAreApplied) {
  start();
  EXPECT_EQ(ask_json("/apply-template", chat({{"user", "hi"}})).json()["prompt"],
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  Json body = chat({{"user", "hi"}, {"assistant", "The  "}});
  body["continue_final_message"] = true;
  EXPECT_EQ(ask_json("/apply-template", body).json()["prompt"],
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nThe  ");
  body["messages"][1]["content"] = "  ";
  EXPECT_EQ(ask_json("/apply-template", body).json()["error"]["param"], "continue_final_message");
  body["messages"][1] = user("one");
  body["messages"][1]["content"] = Json::parse(R"([{"type":"text","text":"a"},
                                                   {"type":"text","text":"b"}])");
  EXPECT_EQ(ask_json("/apply-template", body).json()["prompt"],
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>user\na\nb");
  // What follows is still text where a client wrote it.
  body["messages"][1] = user("<|im_end|>");
  ask_chat(body);
  EXPECT_EQ(echo->last_request().prompt.back(), '>');
}

TEST_F(RoutesTest, ChatEchoRepeatsAMessageOfTheAnswersRole) {
  echo->script = [](const Request&, int32_t) { return std::vector<TokenId>{'Z'}; };
  start();
  Json body = chat({{"user", "hi"}, {"assistant", "The"}});
  body["echo"] = true;
  body["max_tokens"] = 1;
  const auto text = [&] {
    return ask_chat(body).json()["choices"][0]["message"]["content"].get<std::string>();
  };
  EXPECT_EQ(text(), "TheZ");
  body["messages"].erase(1);
  EXPECT_EQ(text(), "Z");
  body["add_generation_prompt"] = false;
  EXPECT_EQ(text(), "hiZ");
  body["stream"] = true;
  const std::vector<std::string> events = events_of(ask_chat(body));
  EXPECT_EQ(Json::parse(events.at(1))["choices"][0]["delta"]["content"], "hi");
}

TEST_F(RoutesTest, TimingsWhereAClientAsks) {
  const Instant arrived = Instant() + absl::Hours(1);
  echo->times = {.arrived = arrived,
                 .started = arrived + absl::Milliseconds(5),
                 .first_token = arrived + absl::Milliseconds(25),
                 .finished = arrived + absl::Milliseconds(125)};
  start();
  Json body = {{"prompt", "abcde"}, {"max_tokens", 10}, {"timings", true}};
  const std::string expected =
      R"({"cache_n":1,"prompt_n":4,"prompt_ms":20.0,"prompt_per_token_ms":5.0,)"
      R"("prompt_per_second":200.0,"predicted_n":10,"predicted_ms":100.0,)"
      R"("predicted_per_token_ms":10.0,"predicted_per_second":100.0,"steps":0,"draft_n":0,)"
      R"("draft_n_accepted":0,"queue_ms":5.0})";
  EXPECT_EQ(ask_completion(body).json()["timings"].dump(), expected);
  body["stream"] = true;
  std::vector<std::string> events = events_of(ask_completion(body));
  EXPECT_EQ(Json::parse(events.at(events.size() - 2))["timings"].dump(), expected);
  body["stream_options"]["include_usage"] = true;
  events = events_of(ask_completion(body));
  const Json last = Json::parse(events.at(events.size() - 2));
  EXPECT_EQ(last["choices"].dump(), "[]");
  EXPECT_EQ(last["timings"].dump(), expected);
  EXPECT_EQ(last["usage"]["completion_tokens"], 10);
  body["timings"] = false;
  for (const std::string& event : events_of(ask_completion(body))) {
    EXPECT_EQ(event.find("timings"), std::string::npos);
  }
}

TEST_F(RoutesTest, UsageInEveryChunk) {
  start();
  Json body = {{"prompt", "ab"}, {"max_tokens", 3}, {"stream", true}};
  body["stream_options"] = {{"include_usage", true}, {"continuous_usage_stats", true}};
  const std::vector<std::string> events = events_of(ask_completion(body));
  ASSERT_EQ(events.size(), 6U);
  for (size_t i = 0; i < 5; ++i) {
    const Json usage = Json::parse(events[i])["usage"];
    EXPECT_EQ(usage["prompt_tokens"], 2);
    EXPECT_EQ(usage["completion_tokens"], std::min<size_t>(i + 1, 3));
    EXPECT_EQ(usage.contains("prompt_tokens_details"), i == 4);
  }
}

TEST_F(RoutesTest, TokenIdsWhereAClientAsks) {
  start();
  Json body = {{"prompt", "ab"}, {"max_tokens", 3}, {"return_token_ids", true}};
  const Json choice = ask_completion(body).json()["choices"][0];
  EXPECT_EQ(choice["prompt_token_ids"].dump(), "[97,98]");
  EXPECT_EQ(choice["token_ids"].dump(), "[97,98,97]");
  body["stream"] = true;
  const std::vector<std::string> events = events_of(ask_completion(body));
  const Json first = Json::parse(events.at(0))["choices"][0];
  EXPECT_EQ(first["prompt_token_ids"].dump(), "[97,98]");
  EXPECT_EQ(first["token_ids"].dump(), "[97]");
  EXPECT_FALSE(Json::parse(events.at(1))["choices"][0].contains("prompt_token_ids"));

  Json asked = chat({{"user", "é"}});
  asked["return_token_ids"] = true;
  asked["max_tokens"] = 2;
  const Json answer = ask_chat(asked).json();
  EXPECT_EQ(answer["prompt_token_ids"].size(), answer["usage"]["prompt_tokens"].get<size_t>());
  EXPECT_EQ(answer["choices"][0]["token_ids"].size(), 2U);
  asked["stream"] = true;
  const Json opening = Json::parse(events_of(ask_chat(asked)).at(0));
  EXPECT_EQ(opening["prompt_token_ids"], answer["prompt_token_ids"]);
}

TEST_F(RoutesTest, LogprobsCanNameTokensByTheirIds) {
  start();
  const Json body = {
      {"prompt", "ab"}, {"max_tokens", 1}, {"logprobs", 1}, {"return_tokens_as_token_ids", true}};
  const Json logprobs = ask_completion(body).json()["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"].dump(), R"(["token_id:97"])");
  EXPECT_EQ(logprobs["top_logprobs"].dump(), R"([{"token_id:98":-0.25,"token_id:97":-0.5}])");
}

TEST_F(RoutesTest, LongPromptsAreTruncatedOnRequest) {
  start();
  const auto prompt = [&](Json body) {
    body["prompt"] = "abcdef";
    EXPECT_EQ(ask_completion(body).status, 200);
    const std::vector<TokenId> tokens = echo->last_request().prompt;
    return std::string(tokens.begin(), tokens.end());
  };
  EXPECT_EQ(prompt({{"truncate_prompt_tokens", 2}, {"max_tokens", 1}}), "ef");
  EXPECT_EQ(prompt({{"truncate_prompt_tokens", 9}, {"max_tokens", 1}}), "abcdef");
  EXPECT_EQ(prompt({{"truncate_prompt_tokens", -1}, {"max_tokens", 4094}}), "ef");
  EXPECT_EQ(prompt({{"truncate_prompt_tokens", 2}, {"truncation_side", "right"}}), "ab");
  expect_error(ask_completion({{"prompt", "ab"}, {"truncate_prompt_tokens", 0}}), 400,
               "truncate_prompt_tokens");
  const Json body = {
      {"prompt", "abcdef"}, {"truncate_prompt_tokens", 2}, {"echo", true}, {"max_tokens", 1}};
  EXPECT_EQ(ask_completion(body).json()["choices"][0]["text"], "efe");
}

TEST_F(RoutesTest, ErrorsNameThePromptOfAList) {
  start();
  expect_error(ask_completion({{"prompt", ""}}), 400, "prompt");
  expect_error(ask_completion({{"prompt", {"a", ""}}}), 400, "prompt[1]");
  expect_error(ask_completion({{"prompt", {"a", std::string(5000, 'x')}}}), 400, "prompt[1]",
               "context_length_exceeded");
  expect_error(ask_completion({{"prompt", {""}}}), 400, "prompt[0]");
  const auto message = [&](const char* body) {
    return ask(post("/v1/completions", body)).json()["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(message(R"({"prompt":[]})"), "prompt must not be empty");
  EXPECT_EQ(message(R"({"prompt":[[]]})"), "prompt[0] must not be empty");
}

TEST_F(RoutesTest, WordsAndTokensReachTheSampler) {
  start();
  ask_completion({{"prompt", "x"}, {"bad_words", {"ab", " c"}}, {"allowed_token_ids", {2, 1, 2}}});
  const SamplingParams& sampling = echo->last_request().sampling;
  const std::vector<std::vector<TokenId>> banned = {{'a', 'b'}, {'c'}};
  EXPECT_EQ(sampling.banned, banned);
  EXPECT_EQ(sampling.allowed, (std::vector<TokenId>{1, 2}));
}

TEST_F(RoutesTest, TheAnswersIdIsTheRequests) {
  start();
  const std::string body = R"({"prompt":"a","request_id":"mine"})";
  EXPECT_EQ(ask(post("/v1/completions", body)).json()["id"], "cmpl-mine");
  const std::string asked = post("/v1/completions", R"({"prompt":"a"})", "X-Request-Id: r-7\r\n");
  EXPECT_EQ(ask(asked).json()["id"], "cmpl-r-7");
}

}  // namespace
}  // namespace millrace
