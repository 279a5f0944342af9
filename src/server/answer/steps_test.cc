#include <string>

#include "server/fixture_test.h"

namespace millrace {
namespace {

using StepsTest = ServerTest;

// The choices of a stream's events, without those that have no token of their own.
std::vector<Json> token_choices(const HttpReply& reply) {
  std::vector<Json> events;
  for (const std::string& event : events_of(reply)) {
    if (event == "[DONE]") break;
    const Json chunk = Json::parse(event);
    for (const Json& choice : chunk["choices"]) {
      const bool opens = choice.contains("delta") && choice["delta"].contains("role");
      if (!opens && choice["finish_reason"].is_null()) events.push_back(choice);
    }
  }
  return events;
}

std::vector<std::string> texts_of_events(const std::vector<Json>& choices) {
  std::vector<std::string> texts;
  for (const Json& choice : choices) {
    texts.push_back(choice.contains("text") ? choice["text"] : choice["delta"]["content"]);
  }
  return texts;
}

Json streamed_completion(const Json& extra) {
  Json body = {{"prompt", "q"}, {"max_tokens", 100}, {"stream", true}};
  for (const auto& [name, value] : extra.items()) body[name] = value;
  return body;
}

using Texts = std::vector<std::string>;

TEST_F(StepsTest, TheTokensOfAStepAreOneEvent) {
  echo->round_tokens = 3;
  echo->script = say(*tokenizer, "abcdefg", false);
  start();
  Json chat = chat_with("q");
  chat["stream"] = true;
  EXPECT_EQ(texts_of_events(token_choices(ask_chat(chat))), (Texts{"abc", "def", "g"}));
  EXPECT_EQ(texts_of_events(token_choices(ask_completion(streamed_completion({})))),
            (Texts{"abc", "def", "g"}));
}

TEST_F(StepsTest, EachTokenHasItsEntry) {
  echo->round_tokens = 3;
  echo->script = say(*tokenizer, "abcd", false);
  start();
  Json chat = chat_with("q");
  chat["stream"] = chat["logprobs"] = true;
  chat["top_logprobs"] = 1;
  const std::vector<Json> chunks = token_choices(ask_chat(chat));
  ASSERT_EQ(chunks.size(), 2U);
  EXPECT_EQ(chunks[0]["delta"]["content"], "abc");
  const Json& entries = chunks[0]["logprobs"]["content"];
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0]["token"], "a");
  EXPECT_EQ(entries[2]["token"], "c");
  EXPECT_EQ(entries[2]["top_logprobs"].size(), 1U);
  EXPECT_EQ(chunks[1]["logprobs"]["content"].size(), 1U);

  const Json extra = {{"logprobs", 0}, {"return_token_ids", true}};
  const std::vector<Json> pieces = token_choices(ask_completion(streamed_completion(extra)));
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0]["logprobs"]["tokens"].dump(), R"(["a","b","c"])");
  EXPECT_EQ(pieces[0]["logprobs"]["text_offset"].dump(), "[0,1,2]");
  EXPECT_EQ(pieces[0]["logprobs"]["token_logprobs"].dump(), "[-0.5,-0.5,-0.5]");
  EXPECT_EQ(pieces[0]["token_ids"].dump(), "[97,98,99]");
  EXPECT_EQ(pieces[1]["logprobs"]["text_offset"].dump(), "[3]");
}

TEST_F(StepsTest, ChoicesHaveTheirOwnEvents) {
  echo->round_tokens = 2;
  echo->script = [](const Request&, int32_t choice) {
    return std::vector<TokenId>(choice == 0 ? 2 : 3, 'A' + choice);
  };
  start();
  const std::vector<Json> chunks = token_choices(ask_completion(streamed_completion({{"n", 2}})));
  EXPECT_EQ(texts_of_events(chunks), (Texts{"AA", "BB", "B"}));
  EXPECT_EQ(chunks[0]["index"], 0);
  EXPECT_EQ(chunks[1]["index"], 1);
}

TEST_F(StepsTest, TextIsHeldBackAndCutWithinAStep) {
  struct Case {
    std::string said;
    Json extra;
    Texts pieces;
  };
  const Case cases[] = {
      {"é!éé", {}, {"é!", "é", "é"}},  // the second step ends within a character
      {"one stop two", {{"stop", "stop"}}, {"one", " "}},      // "sto" is held back
      {"one sto.", {{"stop", "stop"}}, {"one", " ", "sto."}},  // and let go
      {"one stop two", {{"stop", "n"}}, {"o"}},                // in the middle of a step
      {"abcdef", {{"max_tokens", 4}}, {"abc", "d"}},
      {"one", {{"stop", "one"}}, {}},
  };
  echo->round_tokens = 3;
  start();
  for (const Case& c : cases) {
    echo->script = say(*tokenizer, c.said);
    Texts pieces;
    for (const std::string& text :
         texts_of_events(token_choices(ask_completion(streamed_completion(c.extra))))) {
      if (!text.empty()) pieces.push_back(text);
    }
    EXPECT_EQ(pieces, c.pieces) << c.said;
  }
}

TEST_F(StepsTest, UsageCountsTokens) {
  echo->round_tokens = 4;
  echo->script = say(*tokenizer, "abcdef", false);
  start();
  const Json extra = {{"include_usage", true}, {"continuous_usage_stats", true}};
  const std::vector<std::string> events =
      events_of(ask_completion(streamed_completion({{"stream_options", extra}})));
  ASSERT_EQ(events.size(), 5U);  // two steps, the reason, the usage, [DONE]
  const int counts[] = {4, 6, 6, 6};
  for (size_t i = 0; i < std::size(counts); ++i) {
    EXPECT_EQ(Json::parse(events[i])["usage"]["completion_tokens"], counts[i]) << events[i];
  }
}

// A prompt's log-probabilities come with the first step.
TEST_F(StepsTest, ThePromptsEntriesStandBeforeThem) {
  echo->round_tokens = 3;
  echo->script = say(*tokenizer, "xyz", false);
  start();
  const Json extra = {{"echo", true}, {"logprobs", 0}, {"prompt", "ab"}};
  const std::vector<Json> chunks = token_choices(ask_completion(streamed_completion(extra)));
  EXPECT_EQ(texts_of_events(chunks), (Texts{"ab", "xyz"}));
  EXPECT_EQ(chunks[0]["logprobs"]["tokens"].dump(), R"(["a","b"])");
  EXPECT_EQ(chunks[1]["logprobs"]["text_offset"].dump(), "[2,3,4]");
}

}  // namespace
}  // namespace millrace
