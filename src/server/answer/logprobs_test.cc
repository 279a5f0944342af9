#include <string>

#include "server/fixture_test.h"

namespace millrace {
namespace {

using LogprobsTest = ServerTest;

TEST_F(LogprobsTest, ChatLogprobsHaveOneEntryPerToken) {
  echo->script = say(*tokenizer, "é!");
  start();
  Json body = chat_with("q");
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  const Json content = ask_chat(body).json()["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 4U);  // two bytes, a character, the end
  EXPECT_EQ(content[0]["bytes"].dump(), "[195]");
  EXPECT_EQ(content[1]["bytes"].dump(), "[169]");
  EXPECT_EQ(content[0]["token"], "\uFFFD");
  EXPECT_EQ(content[2].dump(), R"({"token":"!","logprob":-0.5,"bytes":[33],"top_logprobs":[)"
                               R"({"token":"\"","logprob":-0.25,"bytes":[34]},)"
                               R"({"token":"#","logprob":-0.5,"bytes":[35]}]})");
  body["stream"] = true;
  const Joined joined = join(ask_chat(body));
  EXPECT_EQ(joined.logprobs.at(0), 4U);
  EXPECT_EQ(joined.texts.at(0), "é!");
  body.erase("top_logprobs");
  body["stream"] = false;
  EXPECT_EQ(ask_chat(body).json()["choices"][0]["logprobs"]["content"][2]["top_logprobs"].dump(),
            "[]");
}

TEST_F(LogprobsTest, CompletionLogprobsHoldTheChosenOneToo) {
  echo->script = say(*tokenizer, "é!", false);
  start();
  Json body = {{"prompt", "q"}, {"logprobs", 0}};
  const Json chosen = ask_completion(body).json()["choices"][0]["logprobs"];
  EXPECT_TRUE(chosen.dump().starts_with(R"({"text_offset":[0,0,1],"token_logprobs":[)"));
  EXPECT_EQ(chosen.size(), 4U);
  EXPECT_EQ(chosen["text_offset"].dump(), "[0,0,1]");
  EXPECT_EQ(chosen["token_logprobs"].dump(), "[-0.5,-0.5,-0.5]");
  EXPECT_EQ(chosen["top_logprobs"][2].dump(), R"({"!":-0.5})");
  body["logprobs"] = 1;
  const Json one = ask_completion(body).json()["choices"][0]["logprobs"];
  EXPECT_EQ(one["top_logprobs"][2].dump(), R"({"\"":-0.25,"!":-0.5})");
  // Both decode to U+FFFD: the likelier one stays.
  EXPECT_EQ(one["top_logprobs"][0].dump(), "{\"\uFFFD\":-0.25}");
  body["stream"] = true;
  EXPECT_EQ(join(ask_completion(body)).logprobs.at(0), 3U);
}

// The second token ends a character that the first, of the prompt or the answer, began.
TEST_F(LogprobsTest, TextOffsetsAreWhereTokensStart) {
  const auto offsets = [&](const Json& body) {
    return ask_completion(body).json()["choices"][0]["logprobs"]["text_offset"].dump();
  };
  echo->script = say(*tokenizer, ",,", false);
  start();
  Json body = {{"prompt", {0xe4}}, {"echo", true}, {"logprobs", 0}, {"max_tokens", 2}};
  EXPECT_EQ(offsets(body), "[0,1,2]");
  body["prompt"] = {'a', 0xe4, 0xb8};
  echo->script = say(*tokenizer, "\x96,", false);
  EXPECT_EQ(offsets(body), "[0,1,1,1,2]");
  body["max_tokens"] = 5;
  body["echo"] = false;
  echo->script = say(*tokenizer, "é\xff\xf0\x9f.", false);
  EXPECT_EQ(offsets(body), "[0,0,1,2,2]");
}

// Text that a stop may begin is held back; its tokens' entries are not.
TEST_F(LogprobsTest, EntriesOfAStreamAreThoseOfThePlainAnswer) {
  echo->script = say(*tokenizer, "one st é stop two");
  start();
  for (const bool for_chat : {false, true}) {
    Json body = for_chat ? chat_with("q") : Json{{"prompt", "q"}, {"max_tokens", 100}};
    body.update({{"stop", "stop"}});
    body["logprobs"] = for_chat ? Json(true) : Json(2);
    if (for_chat) body["top_logprobs"] = 2;
    const auto request = [&] { return for_chat ? ask_chat(body) : ask_completion(body); };
    const Json plain = request().json()["choices"][0]["logprobs"];
    body["stream"] = true;
    Json joined = Json::object();
    size_t held = 0;
    for (const std::string& event : events_of(request())) {
      if (event == "[DONE]") break;
      const Json choice = Json::parse(event)["choices"][0];
      if (choice["logprobs"].is_null()) continue;
      const Json& text = for_chat ? choice["delta"]["content"] : choice["text"];
      if (text == "") ++held;
      for (const auto& [name, list] : choice["logprobs"].items()) {
        if (!list.is_array()) continue;
        EXPECT_EQ(list.size(), 1U);
        joined[name].push_back(list[0]);
      }
    }
    EXPECT_GE(held, 5U);
    for (const auto& [name, list] : joined.items()) EXPECT_EQ(list, plain[name]) << name;
    EXPECT_EQ(joined.begin()->size(), 14U);  // two bytes of one character, and all of the stop
  }
}

TEST_F(LogprobsTest, EchoRepeatsAndScoresThePrompt) {
  echo->script = say(*tokenizer, "Z", false);
  start();
  Json body = {{"prompt", "éa"}, {"echo", true}, {"n", 2}, {"max_tokens", 1}};
  EXPECT_EQ(ask_completion(body).json()["choices"][1]["text"], "éaZ");
  body["logprobs"] = 0;
  const Json choice = ask_completion(body).json()["choices"][1];
  EXPECT_EQ(choice["text"], "éaZ");
  EXPECT_EQ(choice["logprobs"]["token_logprobs"].dump(), "[null,-2.0,-2.0,-0.5]");
  EXPECT_EQ(choice["logprobs"]["text_offset"].dump(), "[0,0,1,2]");
  EXPECT_TRUE(choice["logprobs"]["top_logprobs"][0].is_null());
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][2].dump(), R"({"a":-2.0})");
  body["stream"] = true;
  const Joined joined = join(ask_completion(body));
  EXPECT_EQ(joined.texts.at(0), "éaZ");
  EXPECT_EQ(joined.texts.at(1), "éaZ");
  EXPECT_EQ(joined.logprobs.at(1), 4U);
  body = {{"prompt", {'o', 'k'}}, {"echo", true}, {"max_tokens", 1}};
  EXPECT_EQ(ask_completion(body).json()["choices"][0]["text"], "okZ");
}

TEST_F(LogprobsTest, PromptLogprobsAsVllmShapesThem) {
  echo->script = say(*tokenizer, "Z", false);
  start();
  Json body = {{"prompt", "ab"}, {"prompt_logprobs", 1}, {"max_tokens", 1}};
  const Json completion = ask_completion(body).json();
  const std::string expected = R"([null,{"99":{"logprob":-0.25,"rank":1,"decoded_token":"c"},)"
                               R"("98":{"logprob":-2.0,"rank":null,"decoded_token":"b"}}])";
  EXPECT_EQ(completion["choices"][0]["prompt_logprobs"].dump(), expected);
  body = chat_with("q");
  body["prompt_logprobs"] = 0;
  const Json json = ask_chat(body).json();
  EXPECT_EQ(json["prompt_logprobs"].size(), json["usage"]["prompt_tokens"].get<size_t>());
  EXPECT_FALSE(json["choices"][0].contains("prompt_logprobs"));
}

}  // namespace
}  // namespace millrace
