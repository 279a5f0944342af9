#include <algorithm>
#include <malloc.h>
#include <set>
#include <string>

#include "server/fixture_test.h"

namespace millrace {
namespace {

using AnswersTest = ServerTest;

std::vector<std::string> keys(const Json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  return names;
}

using Names = std::vector<std::string>;

TEST_F(AnswersTest, ChatAnswerHasOpenAisKeys) {
  echo->script = say(*tokenizer, "Hi");
  start();
  const HttpReply reply = ask_chat(chat_with("abc"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json json = reply.json();
  EXPECT_EQ(keys(json),
            (Names{"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}));
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "echo");
  const Json& choice = json["choices"][0];
  EXPECT_EQ(keys(choice), (Names{"index", "message", "logprobs", "finish_reason", "stop_reason"}));
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "Hi");
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_TRUE(choice["logprobs"].is_null());
  const Json& usage = json["usage"];
  EXPECT_EQ(usage["completion_tokens"], 3);  // the end of generation counts
  EXPECT_EQ(usage["total_tokens"],
            usage["prompt_tokens"].get<int>() + usage["completion_tokens"].get<int>());
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 1);
}

TEST_F(AnswersTest, ChatStreamIsInOpenAisOrder) {
  echo->script = say(*tokenizer, "Hi");
  start();
  Json body = chat_with("abc");
  body["stream"] = true;
  body["stream_options"]["include_usage"] = true;
  const HttpReply reply = ask_chat(body);
  EXPECT_EQ(reply.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_TRUE(reply.whole);
  const std::vector<std::string> events = events_of(reply);
  ASSERT_EQ(events.size(), 6U) << reply.body;
  const Json first = Json::parse(events[0]);
  const std::string envelope = events[0].substr(0, events[0].find("\"choices\""));
  for (size_t i = 1; i < 5; ++i) EXPECT_TRUE(events[i].starts_with(envelope)) << events[i];
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["choices"].dump(),
            R"([{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
            R"("finish_reason":null}])");
  EXPECT_EQ(Json::parse(events[1])["choices"].dump(),
            R"([{"index":0,"delta":{"content":"H"},"logprobs":null,"finish_reason":null}])");
  EXPECT_EQ(
      Json::parse(events[3])["choices"].dump(),
      R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":null}])");
  const Json usage = Json::parse(events[4]);
  EXPECT_EQ(usage["choices"].dump(), "[]");
  EXPECT_EQ(usage["usage"]["completion_tokens"], 3);
  for (size_t i = 0; i < 4; ++i) EXPECT_FALSE(Json::parse(events[i]).contains("usage"));
  EXPECT_EQ(events[5], "[DONE]");
}

TEST_F(AnswersTest, CompletionAnswerHasOpenAisKeys) {
  start();
  const Json json = ask_completion({{"prompt", "abc"}, {"max_tokens", 4}}).json();
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("cmpl-"));
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["choices"].dump(),
            R"([{"index":0,"text":"abca","logprobs":null,"finish_reason":"length",)"
            R"("stop_reason":null}])");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(json["usage"]["completion_tokens"], 4);
  EXPECT_EQ(ask_completion({{"prompt", "abc"}}).json()["usage"]["completion_tokens"], 16);
}

TEST_F(AnswersTest, StreamJoinedEqualsThePlainAnswer) {
  struct Case {
    std::string text;
    Json extra;
    std::string expected, reason;
  };
  const Case cases[] = {
      {"Grüße, 世界 🙂", {}, "Grüße, 世界 🙂", "stop"},
      {"Grüße", {{"max_tokens", 3}}, "Gr\uFFFD", "length"},
      {"a\xf0\x9f\x98", {}, "a\uFFFD", "stop"},
      {"a\xff\xffz", {}, "a\uFFFD\uFFFDz", "stop"},
      {"one stop two", {{"stop", "stop"}}, "one ", "stop"},
      {"one sto", {{"stop", "stop"}}, "one sto", "stop"},
      {"one stop two", {{"stop", {"stop", "e s"}}}, "on", "stop"},
      {"one stop two",
       {{"stop", "stop"}, {"include_stop_str_in_output", true}},
       "one stop",
       "stop"},
      {"one stop two stop", {{"stop", "stop"}, {"min_tokens", 6}}, "one stop two ", "stop"},
      {"x世界y", {{"stop", "界"}}, "x世", "stop"},
      {"", {}, "", "stop"},
  };
  start();
  for (const Case& c : cases) {
    echo->script = say(*tokenizer, c.text);
    for (const bool for_chat : {false, true}) {
      Json body = for_chat ? chat_with("q") : Json{{"prompt", "q"}, {"max_tokens", 100}};
      for (const auto& [name, value] : c.extra.items()) body[name] = value;
      const auto request = [&] { return for_chat ? ask_chat(body) : ask_completion(body); };
      const Json plain = request().json()["choices"][0];
      const Json& text = for_chat ? plain["message"]["content"] : plain["text"];
      EXPECT_EQ(text, c.expected);
      EXPECT_EQ(plain["finish_reason"], c.reason);
      body["stream"] = true;
      const Joined streamed = join(request());
      EXPECT_EQ(streamed.texts.at(0), c.expected);
      EXPECT_EQ(streamed.reasons.at(0), c.reason);
    }
  }
}

TEST_F(AnswersTest, TheStopThatWasReachedIsNamed) {
  const TokenId end = tokenizer->vocab().ends_of_generation().front();
  struct Case {
    Json extra;
    std::string text, reason;
    Json stop;
  };
  const Case cases[] = {
      {{}, "ab c", "stop", nullptr},  // the model's own end
      {{{"max_tokens", 2}}, "ab", "length", nullptr},
      {{{"stop", {"z", "b "}}}, "a", "stop", "b "},
      {{{"stop_token_ids", {'z', 'b'}}}, "a", "stop", int{'b'}},
      {{{"stop_token_ids", {end}}}, "ab c", "stop", nullptr},
      {{{"stop_token_ids", {end}}, {"ignore_eos", true}}, "ab c", "stop", end},
  };
  echo->script = say(*tokenizer, "ab c");
  start();
  for (const Case& c : cases) {
    for (const bool for_chat : {false, true}) {
      Json body = for_chat ? chat_with("q") : Json{{"prompt", "q"}, {"max_tokens", 100}};
      for (const auto& [name, value] : c.extra.items()) body[name] = value;
      const auto request = [&] { return for_chat ? ask_chat(body) : ask_completion(body); };
      const Json plain = request().json()["choices"][0];
      EXPECT_EQ(for_chat ? plain["message"]["content"] : plain["text"], c.text);
      EXPECT_EQ(plain["finish_reason"], c.reason);
      EXPECT_EQ(plain["stop_reason"], c.stop);
      body["stream"] = true;
      const std::vector<std::string> events = events_of(request());
      ASSERT_GE(events.size(), 2U);
      for (size_t i = 0; i + 1 < events.size(); ++i) {
        const Json choice = Json::parse(events[i])["choices"][0];
        const bool last = i + 2 == events.size();
        EXPECT_EQ(choice.contains("stop_reason"), last);
        if (last) {
          EXPECT_EQ(choice["stop_reason"], c.stop);
          EXPECT_EQ(choice["finish_reason"], c.reason);
        }
      }
    }
  }
}

TEST_F(AnswersTest, WhatEndsAnAnswerIsLeftOut) {
  const TokenId end = tokenizer->vocab().ends_of_generation().front();
  echo->script = [end](const Request&, int32_t) { return std::vector<TokenId>{'a', end, 'b'}; };
  start();
  const Json body = {{"prompt", "q"}, {"max_tokens", 3}};
  const auto text = [&](std::initializer_list<std::pair<const char*, Json>> extra) {
    Json asked = body;
    for (const auto& [name, value] : extra) asked[name] = value;
    return ask_completion(asked).json()["choices"][0]["text"].get<std::string>();
  };
  EXPECT_EQ(text({}), "a");
  EXPECT_EQ(text({{"skip_special_tokens", false}}), "a");
  EXPECT_EQ(text({{"ignore_eos", true}}), "ab");
  EXPECT_EQ(text({{"ignore_eos", true}, {"skip_special_tokens", false}}), "a<|im_end|>b");
  EXPECT_EQ(text({{"include_stop_str_in_output", true}, {"skip_special_tokens", false}}),
            "a<|im_end|>");
}

TEST_F(AnswersTest, AStopIsFoundInTheTextThatIsShown) {
  const TokenId end = tokenizer->vocab().ends_of_generation().front();
  echo->script = [end](const Request&, int32_t) { return std::vector<TokenId>{'a', end, 'b'}; };
  start();
  Json body = {{"prompt", "q"}, {"max_tokens", 3}, {"stop", "<|im_end|>"}, {"ignore_eos", true}};
  for (const bool skips : {true, false}) {
    body["skip_special_tokens"] = skips;
    body["stream"] = false;
    const Json plain = ask_completion(body).json();
    EXPECT_EQ(plain["choices"][0]["text"], skips ? "ab" : "a");
    EXPECT_EQ(plain["choices"][0]["finish_reason"], skips ? "length" : "stop");
    EXPECT_EQ(plain["usage"]["completion_tokens"], skips ? 3 : 2);
    body["stream"] = true;
    const Joined streamed = join(ask_completion(body));
    EXPECT_EQ(streamed.texts.at(0), skips ? "ab" : "a");
    EXPECT_EQ(streamed.reasons.at(0), skips ? "length" : "stop");
  }
}

TEST_F(AnswersTest, ChoicesAreNumberedAcrossPrompts) {
  echo->script = [](const Request& request, int32_t choice) {
    return std::vector<TokenId>{request.prompt.front(), 'A' + choice};
  };
  start();
  Json body = {{"prompt", {"x", "y"}}, {"n", 2}};
  const std::map<int, std::string> expected = {{0, "xA"}, {1, "xB"}, {2, "yA"}, {3, "yB"}};
  const Json json = ask_completion(body).json();
  ASSERT_EQ(json["choices"].size(), 4U);
  for (const auto& [index, text] : expected) {
    EXPECT_EQ(json["choices"][static_cast<size_t>(index)]["index"], index);
    EXPECT_EQ(json["choices"][static_cast<size_t>(index)]["text"], text);
  }
  EXPECT_EQ(json["usage"]["prompt_tokens"], 2);  // n counts a prompt once
  EXPECT_EQ(json["usage"]["completion_tokens"], 8);
  body["stream"] = true;
  const Joined joined = join(ask_completion(body));
  EXPECT_EQ(joined.texts, expected);
  EXPECT_EQ(joined.reasons.size(), 4U);

  EXPECT_EQ(ask_completion({{"prompt", {{'a', 'b'}, {'c'}}}}).json()["choices"].size(), 2U);
  EXPECT_EQ(ask_completion({{"prompt", {'a', 'b'}}}).json()["usage"]["prompt_tokens"], 2);
  body = {{"prompt", Json::array()}, {"n", 128}};
  for (int i = 0; i < 9; ++i) body["prompt"].push_back("x");
  EXPECT_EQ(ask_completion(body).json()["error"]["param"], "prompt");
}

TEST_F(AnswersTest, ContextOverflowIsVllmsSentence) {
  start();
  const HttpReply reply = ask_completion({{"prompt", std::string("xyz")}, {"max_tokens", 4094}});
  EXPECT_EQ(reply.status, 400);
  const Json error = reply.json()["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(
      error["message"],
      "This model's maximum context length is 4096 tokens. However, you requested 4094 output "
      "tokens and your prompt contains at least 3 input tokens, for a total of at least 4097 "
      "tokens. Please reduce the length of the input prompt or the number of requested output "
      "tokens.");
  EXPECT_EQ(ask_completion({{"prompt", "xyz"}, {"max_tokens", 4093}}).status, 200);
  EXPECT_EQ(ask_completion({{"prompt", "xyz"}, {"max_tokens", 2147483647}}).status, 400);
  std::string lengthy;
  for (int i = 0; i < 4095; ++i) lengthy += i % 2 == 0 ? 'x' : 'y';
  EXPECT_EQ(ask_completion({{"prompt", lengthy}}).json()["usage"]["completion_tokens"], 1);
  EXPECT_EQ(ask_completion({{"prompt", lengthy + "z"}}).status, 400);
  EXPECT_EQ(ask_chat(chat_with(lengthy)).json()["error"]["param"], "messages");
  // A chat may fill the rest of the context.
  Json open_ended = chat_with("q");
  open_ended["ignore_eos"] = true;
  EXPECT_EQ(ask_chat(open_ended).json()["usage"]["total_tokens"], 4096);
}

TEST_F(AnswersTest, TheLeastLengthFitsTheDefaultLength) {
  start();
  EXPECT_EQ(ask_completion({{"prompt", "a"}, {"min_tokens", 16}}).status, 200);
  expect_error(ask_completion({{"prompt", "a"}, {"min_tokens", 17}}), 400, "min_tokens");
}

// No token is longer than "<|im_start|>".
TEST_F(AnswersTest, WhatCannotFitIsRefusedUnread) {
  start();
  const std::string text(5'000'000, 'x');
  const HttpReply reply = ask_completion({{"prompt", {"a", text}}});
  expect_error(reply, 400, "prompt[1]", "context_length_exceeded");
  const size_t least = (text.size() + 11) / 12;
  EXPECT_NE(reply.body.find(fmt::format("at least {} input tokens", least)), std::string::npos)
      << reply.body;
  expect_error(ask_chat(chat_with(text)), 400, "messages", "context_length_exceeded");
  EXPECT_EQ(ask_completion({{"prompt", std::string(60'000, 'x')}, {"truncate_prompt_tokens", 9}})
                .json()["usage"]["prompt_tokens"],
            9);
}

TEST_F(AnswersTest, SpecialTokensInsideContentAreText) {
  start();
  ask_chat(chat_with("<|im_end|>"));
  const std::vector<TokenId> prompt = echo->last_request().prompt;
  const TokenId end = *tokenizer->vocab().find("<|im_end|>");
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), end), 1);
  // In a raw prompt it is the token.
  ask_completion({{"prompt", "a<|im_end|>"}});
  EXPECT_EQ(echo->last_request().prompt, (std::vector<TokenId>{'a', end}));
}

TEST_F(AnswersTest, SeedsAreTheClientsOrDrawn) {
  start();
  Json body = {{"prompt", "a"}, {"seed", 7}};
  ask_completion(body);
  EXPECT_EQ(echo->last_request().sampling.seed, 7U);
  body.erase("seed");
  ask_completion(body);
  const uint64_t first = echo->last_request().sampling.seed;
  ask_completion(body);
  EXPECT_NE(echo->last_request().sampling.seed, first);
}

TEST_F(AnswersTest, EachPromptOfAListDrawsItsOwnSeed) {
  std::vector<uint64_t> seeds;
  echo->script = [&](const Request& request, int32_t) {
    seeds.push_back(request.sampling.seed);
    return std::vector<TokenId>{'x'};
  };
  start();
  Json body = {{"prompt", {"a", "a", "a"}}};
  EXPECT_EQ(ask_completion(body).status, 200);
  EXPECT_EQ(std::set<uint64_t>(seeds.begin(), seeds.end()).size(), 3U);
  seeds.clear();
  body["seed"] = 7;
  EXPECT_EQ(ask_completion(body).status, 200);
  EXPECT_EQ(seeds, (std::vector<uint64_t>{7, 7, 7}));
}

TEST_F(AnswersTest, AModelWithoutATemplateSaysSo) {
  chat_template = nullptr;
  start();
  const HttpReply reply = ask_chat(chat_with("q"));
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json()["error"]["param"], "messages");
  EXPECT_EQ(ask_completion({{"prompt", "q"}}).status, 200);
}

TEST_F(AnswersTest, AnErrorInTheMiddleEndsTheStreamWithIt) {
  echo->failure = absl::InternalError("the row at 0x1234 is not a number");
  start();
  Json body = {{"prompt", "q"}, {"max_tokens", 50}, {"stream", true}};
  const std::vector<std::string> events = events_of(ask_completion(body));
  ASSERT_GE(events.size(), 3U);
  EXPECT_EQ(events.back(), "[DONE]");
  const Json error = Json::parse(events[events.size() - 2])["error"];
  EXPECT_EQ(error["type"], "server_error");
  EXPECT_EQ(error["message"].get<std::string>().find("0x"), std::string::npos);
  body["stream"] = false;
  EXPECT_EQ(ask_completion(body).status, 500);
}

// What the process has allocated; 0 where a sanitizer stands in for the allocator.
int64_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

TEST_F(AnswersTest, ARunningAnswerKeepsNothingOfALargeRequest) {
  start();
  Json body = chat_with("a");
  body["chat_template_kwargs"]["x"] = Json::array();
  for (int i = 0; i < 500'000; ++i) body["chat_template_kwargs"]["x"].push_back(Json::array());
  const std::string request = post("/v1/chat/completions", body.dump());
  echo->hold(true);
  TestClient client(server->port());
  const int64_t before = bytes_in_use();
  client.send(request);
  ASSERT_TRUE(echo->wait_for_running(1));
  EXPECT_TRUE(client.send(get("/health")));  // the route's thread has returned
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_LT(bytes_in_use() - before, 8 << 20);
  echo->hold(false);
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(AnswersTest, ConcurrentStreamsAreEachTheirOwn) {
  start();
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(std::make_unique<TestClient>(server->port()));
    const Json body = {{"prompt", std::string(1, static_cast<char>('a' + i)) + "-"},
                       {"max_tokens", 200},
                       {"stream", i % 2 == 0}};
    clients.back()->send(post("/v1/completions", body.dump()));
  }
  for (int i = 0; i < 16; ++i) {
    std::string expected;
    for (int k = 0; k < 100; ++k) expected += std::string(1, static_cast<char>('a' + i)) + "-";
    const HttpReply reply = clients[static_cast<size_t>(i)]->read_reply();
    EXPECT_EQ(i % 2 == 0 ? join(reply).texts.at(0)
                         : reply.json()["choices"][0]["text"].get<std::string>(),
              expected);
  }
}

}  // namespace
}  // namespace millrace
