#include <string>

#include <gtest/gtest.h>

#include "server/http/api_error.h"
#include "server/request/request_body.h"

namespace millrace {
namespace {

struct Case {
  const char* body;
  const char* param;           // null: the request is good
  const char* code = nullptr;  // null: none
};

constexpr ReadContext kContext = {.vocab_size = 266, .logprobs_max = 20, .stop_bytes_max = 32};
constexpr const char* kUnsupported = "unsupported_parameter";

// What the client would see of a status: its param and code, "-" for null.
std::string seen(const absl::Status& status) {
  if (status.ok()) return "good";
  const Json error = Json::parse(error_json(status))["error"];
  const auto text = [](const Json& value) {
    return value.is_null() ? std::string("-") : value.get<std::string>();
  };
  EXPECT_EQ(error.size(), 4U);
  const auto message = error["message"].get<std::string>();
  EXPECT_FALSE(message.empty());
  EXPECT_LE(message.size(), 1000U);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return text(error["param"]) + " " + text(error["code"]);
}

std::string expected(const Case& c) {
  if (c.param == nullptr) return "good";
  return std::string(c.param) + " " + (c.code == nullptr ? "-" : c.code);
}

void check_completions(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    const auto body = parse_json(c.body);
    ASSERT_TRUE(body.ok()) << c.body;
    EXPECT_EQ(seen(read_body(kCompletionBody, *body, kContext).status()), expected(c)) << c.body;
  }
}

// `fields` beside a good prompt.
void check_fields(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    const std::string prompted = R"({"prompt":"a",)" + std::string(c.body) + "}";
    const auto completion = parse_json(prompted);
    ASSERT_TRUE(completion.ok()) << prompted;
    EXPECT_EQ(seen(read_body(kCompletionBody, *completion, kContext).status()), expected(c))
        << prompted;
    const std::string chatted =
        R"({"messages":[{"role":"user","content":"a"}],)" + std::string(c.body) + "}";
    EXPECT_EQ(seen(read_body(kChatBody, *parse_json(chatted), kContext).status()), expected(c))
        << chatted;
  }
}

void check_chats(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    const auto body = parse_json(c.body);
    ASSERT_TRUE(body.ok()) << c.body;
    EXPECT_EQ(seen(read_body(kChatBody, *body, kContext).status()), expected(c)) << c.body;
  }
}

// `fields` beside good messages.
void check_chat_fields(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    const std::string body =
        R"({"messages":[{"role":"user","content":"a"}],)" + std::string(c.body) + "}";
    EXPECT_EQ(seen(read_body(kChatBody, *parse_json(body), kContext).status()), expected(c))
        << body;
  }
}

TEST(FieldsTest, RangesOfEveryRoute) {
  check_fields({
      {R"("temperature":0)", nullptr},
      {R"("temperature":-0.1)", "temperature"},
      {R"("temperature":1e39)", "temperature"},
      {R"("temperature":"1")", "temperature"},
      {R"("temperature":true)", "temperature"},
      {R"("temperature":null)", nullptr},
      {R"("top_p":0)", nullptr},
      {R"("top_p":1.01)", "top_p"},
      {R"("top_p":-0.01)", "top_p"},
      {R"("top_k":-1)", nullptr},
      {R"("top_k":0)", nullptr},
      {R"("top_k":-2)", "top_k"},
      {R"("top_k":1.5)", "top_k"},
      {R"("min_p":1)", nullptr},
      {R"("min_p":1.5)", "min_p"},
      {R"("typical_p":0)", "typical_p"},
      {R"("top_p":1)", nullptr},
      {R"("min_p":0)", nullptr},
      {R"("presence_penalty":-2)", nullptr},
      {R"("presence_penalty":2)", nullptr},
      {R"("frequency_penalty":-2)", nullptr},
      {R"("frequency_penalty":2)", nullptr},
      {R"("presence_penalty":2.1)", "presence_penalty"},
      {R"("frequency_penalty":-2.1)", "frequency_penalty"},
      {R"("repetition_penalty":0)", "repetition_penalty"},
      {R"("repetition_penalty":1e-50)", "repetition_penalty"},
      {R"("repetition_penalty":-1)", "repetition_penalty"},
      {R"("repetition_penalty":1.2)", nullptr},
      {R"("n":1)", nullptr},
      {R"("n":128)", nullptr},
      {R"("n":0)", "n"},
      {R"("n":129)", "n"},
      {R"("n":1.0)", "n"},
      {R"("n":99999999999999999999)", "n"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_tokens":-1)", "max_tokens"},
      {R"("max_tokens":2.5)", "max_tokens"},
      {R"("max_tokens":18446744073709551615)", "max_tokens"},
      {R"("max_completion_tokens":0)", "max_completion_tokens"},
      {R"("min_tokens":5,"max_tokens":4)", "min_tokens"},
      {R"("min_tokens":4,"max_tokens":4)", nullptr},
      {R"("min_tokens":4,"max_tokens":9,"max_completion_tokens":3)", "min_tokens"},
      {R"("min_tokens":-1)", "min_tokens"},
      {R"("seed":9223372036854775807)", nullptr},
      {R"("seed":-9223372036854775808)", nullptr},
      {R"("seed":18446744073709551615)", nullptr},
      {R"("seed":18446744073709551616)", "seed"},
      {R"("seed":1.5)", "seed"},
      {R"("seed":99999999999999999999)", "seed"},
      {R"("seed":"1")", "seed"},
      {R"("prompt_logprobs":20)", nullptr},
      {R"("prompt_logprobs":21)", "prompt_logprobs"},
      {R"("prompt_logprobs":1,"stream":true)", "prompt_logprobs"},
      {R"("stream":1)", "stream"},
      {R"("cache_salt":"")", "cache_salt"},
      {R"("cache_salt":"x")", nullptr},
      {R"("model":1)", "model"},
  });
}

TEST(FieldsTest, ListsOfEveryRoute) {
  check_fields({
      {R"("stop":"x")", nullptr},
      {R"("stop":[])", nullptr},
      {R"("stop":"")", "stop"},
      {R"("stop":["a",""])", "stop[1]"},
      {R"("stop":["a",1])", "stop[1]"},
      {R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16"])",
       nullptr},
      {R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])",
       "stop"},
      {R"("stop":["a","123456789012345678901234567890123"])", "stop[1]"},
      {R"("stop":"12345678901234567890123456789012")", nullptr},
      {R"("stop_token_ids":[0,265])", nullptr},
      {R"("stop_token_ids":[266])", "stop_token_ids[0]"},
      {R"("stop_token_ids":[1,-1])", "stop_token_ids[1]"},
      {R"("stop_token_ids":[1.5])", "stop_token_ids[0]"},
      {R"("stop_token_ids":1)", "stop_token_ids"},
      {R"("logit_bias":{"0":-100,"265":100})", nullptr},
      {R"("logit_bias":{"266":1})", "logit_bias"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("logit_bias":{"1 ":1})", "logit_bias"},
      {R"("logit_bias":{"-1":1})", "logit_bias"},
      {R"("logit_bias":{"1":101})", "logit_bias.1"},
      {R"("logit_bias":{"1":null})", "logit_bias.1"},
      {R"("logit_bias":{"1":1,"01":2})", "logit_bias.01"},
      {R"("logit_bias":[1])", "logit_bias"},
      {R"("stream_options":{"include_usage":true})", "stream_options"},
      {R"("stream":true,"stream_options":{"include_usage":true})", nullptr},
      {R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage"},
      {R"("stream":true,"stream_options":{"continuous_usage_stats":true})", nullptr},
      {R"("stream":true,"stream_options":{"include_obfuscation":true})",
       "stream_options.include_obfuscation", kUnsupported},
      {R"("stream":true,"stream_options":{"continuous_usage_stats":false,"x":1})", nullptr},
      {R"("bad_words":["x"," y"])", nullptr},
      {R"("bad_words":[])", nullptr},
      {R"("bad_words":["x",""])", "bad_words[1]"},
      {R"("bad_words":[" "])", "bad_words[0]"},
      {R"("bad_words":[1])", "bad_words[0]"},
      {R"("bad_words":"x")", "bad_words"},
      {R"("allowed_token_ids":[1,2])", nullptr},
      {R"("allowed_token_ids":[])", "allowed_token_ids"},
      {R"("allowed_token_ids":[266])", "allowed_token_ids[0]"},
      {R"("truncate_prompt_tokens":5,"truncation_side":"right")", nullptr},
      {R"("truncate_prompt_tokens":-1)", nullptr},
      {R"("truncate_prompt_tokens":-2)", "truncate_prompt_tokens"},
      {R"("truncation_side":"middle")", "truncation_side"},
      {R"("request_id":"a-1")", nullptr},
      {R"("request_id":"a 1")", "request_id"},
      {R"("request_id":"")", "request_id"},
      {R"("return_token_ids":true,"return_tokens_as_token_ids":true,"timings":true)", nullptr},
      {R"("timings":1)", "timings"},
      {R"("speculation":{"method":"none"})", nullptr},
      {R"("speculation":{"method":"none","n":1})", "speculation"},
      {R"("speculation":"none")", "speculation"},
      {R"("response_format":{"type":"text"})", nullptr},
      {R"("response_format":{"type":"json_object"})", "response_format", kUnsupported},
      {R"("response_format":"text")", "response_format"},
  });
}

TEST(FieldsTest, UnknownIsIgnoredAndUnsupportedSaysSo) {
  check_fields({
      {R"("nobody_defines_this":{"x":1})", nullptr},
      {R"("user":"u","metadata":{"a":"b"})", nullptr},
      {R"("structured_outputs":{"regex":"a"})", "structured_outputs", kUnsupported},
      {R"("use_beam_search":true)", "use_beam_search", kUnsupported},
      {R"("use_beam_search":false)", nullptr},
      {R"("priority":0)", nullptr},
      {R"("priority":1)", "priority", kUnsupported},
      {R"("spaces_between_special_tokens":false)", nullptr},
      {R"("length_penalty":1.0)", nullptr},
  });
  check_chat_fields({
      {R"("tools":[{"type":"function","function":{"name":"f"}}])", "tools", kUnsupported},
      {R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none")", nullptr},
      {R"("tools":[],"tool_choice":"auto")", nullptr},
      {R"("tool_choice":"required")", "tool_choice", kUnsupported},
      {R"("chat_template":"{{ 1 }}")", "chat_template", kUnsupported},
      {R"("continue_final_message":true)", nullptr},
      {R"("continue_final_message":true,"add_generation_prompt":false)", nullptr},
      {R"("continue_final_message":true,"add_generation_prompt":true)", "continue_final_message"},
      {R"("documents":[{"text":"a"}])", nullptr},
      {R"("documents":["a"])", "documents[0]"},
      {R"("documents":{})", "documents"},
      {R"("audio":{"voice":"x"})", "audio", kUnsupported},
      {R"("modalities":["text"])", nullptr},
      {R"("modalities":["text","audio"])", "modalities", kUnsupported},
      {R"("store":false,"service_tier":"auto","parallel_tool_calls":true)", nullptr},
      {R"("service_tier":"flex")", "service_tier", kUnsupported},
      {R"("reasoning_effort":"high")", nullptr},
      {R"("reasoning_effort":"most")", "reasoning_effort"},
      {R"("chat_template_kwargs":{"thinking":true})", nullptr},
      {R"("chat_template_kwargs":{"tokenize":true})", "chat_template_kwargs.tokenize"},
      {R"("chat_template_kwargs":{"messages":[]})", "chat_template_kwargs.messages"},
      {R"("chat_template_kwargs":{"bos_token":"x"})", "chat_template_kwargs.bos_token"},
      {R"("chat_template_kwargs":{"continue_final_message":true})",
       "chat_template_kwargs.continue_final_message"},
      {R"("chat_template_kwargs":[])", "chat_template_kwargs"},
  });
  check_completions({
      {R"({"prompt":"a","best_of":1})", nullptr},
      {R"({"prompt":"a","best_of":2})", "best_of", kUnsupported},
      {R"({"prompt":"a","n":2,"best_of":2})", nullptr},
      {R"({"prompt":"a","suffix":"b"})", "suffix", kUnsupported},
      {R"({"prompt":"a","suffix":null,"tools":[1]})", nullptr},
  });
}

void check_body(const RequestBody& body, std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    EXPECT_EQ(seen(read_body(body, *parse_json(c.body), kContext).status()), expected(c)) << c.body;
  }
}

TEST(FieldsTest, TextsAndTokens) {
  check_body(kTokenizeBody,
             {
                 {R"({"prompt":""})", nullptr},
                 {R"({"content":"a","add_special":true,"with_pieces":true})", nullptr},
                 {R"({"messages":[{"role":"user","content":"a"}]})", nullptr},
                 {R"({"prompt":"a","messages":null,"content":null})", nullptr},
                 {R"({})", "prompt"},
                 {R"({"prompt":null})", "prompt"},
                 {R"({"prompt":["a"]})", "prompt"},
                 {R"({"prompt":"a","content":"a"})", "prompt"},
                 {R"({"content":"a","parse_special":1})", "parse_special"},
                 {R"({"messages":[]})", "messages"},
             });
  check_body(kDetokenizeBody, {
                                  {R"({"tokens":[]})", nullptr},
                                  {R"({"tokens":[0,265]})", nullptr},
                                  {R"({"tokens":[0,266]})", "tokens[1]"},
                                  {R"({"tokens":"a"})", "tokens"},
                                  {R"({})", "tokens"},
                              });
  check_body(kTemplateBody, {
                                {R"({"messages":[{"role":"user","content":"a"}]})", nullptr},
                                {R"({"prompt":"a"})", "messages"},
                            });
}

TEST(FieldsTest, Prompts) {
  check_completions({
      {R"({})", "prompt"},
      {R"({"prompt":null})", "prompt"},
      {R"({"prompt":[]})", "prompt"},
      {R"({"prompt":5})", "prompt"},
      {R"({"prompt":["a","b"]})", nullptr},
      {R"({"prompt":[1,2,265]})", nullptr},
      {R"({"prompt":[1,266]})", "prompt[1]"},
      {R"({"prompt":[-1]})", "prompt[0]"},
      {R"({"prompt":[1.0]})", "prompt[0]"},
      {R"({"prompt":[9223372036854775808]})", "prompt[0]"},
      {R"({"prompt":[1,"a"]})", "prompt[1]"},
      {R"({"prompt":["a",1]})", "prompt"},
      {R"({"prompt":[[1,2],[3]]})", nullptr},
      {R"({"prompt":[[1,2],[]]})", "prompt[1]"},
      {R"({"prompt":[[1,2],[300]]})", "prompt[1][0]"},
      {R"({"prompt":[true]})", "prompt[0]"},
      {R"({"prompt":{"a":1}})", "prompt"},
      {R"({"prompt":"a","logprobs":0})", nullptr},
      {R"({"prompt":"a","logprobs":20})", nullptr},
      {R"({"prompt":"a","logprobs":21})", "logprobs"},
      {R"({"prompt":"a","logprobs":-1})", "logprobs"},
      {R"({"prompt":"a","logprobs":true})", "logprobs"},
      {R"([])", "-"},
  });
}

TEST(FieldsTest, Messages) {
  check_chats({
      {R"({})", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":"hi"})", "messages"},
      {R"({"messages":["hi"]})", "messages[0]"},
      {R"({"messages":[{"content":"a"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"robot","content":"a"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"user","content":null}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user"}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":5}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":[]}]})", "messages[0].content"},
      {R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]})", nullptr},
      {R"({"messages":[{"role":"developer","content":"s"},{"role":"user","content":"a"},
          {"role":"assistant","content":"b"},{"role":"tool","content":"c","tool_call_id":"1"}]})",
       nullptr},
      {R"({"messages":[{"role":"assistant","content":null,"tool_calls":[
          {"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}]})",
       nullptr},
      {R"({"messages":[{"role":"assistant","content":null,"tool_calls":[
          {"id":"1","function":{"name":"f","arguments":"{"}},
          {"id":"2","function":{"name":"f","arguments":""}},
          {"id":"3","function":{"name":"f","arguments":"[1]"}},
          {"id":"4","function":{"name":"f","arguments":"null"}},
          {"id":"5","function":{"name":"f","arguments":"1e999"}},
          {"id":"6","function":{"name":"f","arguments":null}},
          {"id":"8","function":{"name":"f","arguments":"{\"a\":1,\"a\":[{\"b\":1,\"b\":2}]}"}},
          {"id":"7","function":{"name":"f"}}]}]})",
       nullptr},
      {R"({"messages":[{"role":"assistant","content":null,"tool_calls":null}]})",
       "messages[0].content"},
      {R"({"messages":[{"role":"assistant","content":"x","tool_calls":[]}]})", nullptr},
      {R"({"messages":[{"role":"assistant","content":null,"tool_calls":[]}]})",
       "messages[0].content"},
      {R"({"messages":[{"role":"assistant","content":"x","tool_calls":{}}]})",
       "messages[0].tool_calls"},
      {R"({"messages":[{"role":"assistant","content":null,"refusal":"no"}]})", nullptr},
      {R"({"messages":[{"role":"assistant","content":"x","refusal":null}]})", nullptr},
      {R"({"messages":[{"role":"user","content":null,"refusal":"no"}]})", "messages[0].content"},
      {R"({"messages":[{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]})",
       nullptr},
      {R"({"messages":[{"role":"assistant","content":[{"type":"refusal","refusal":1}]}]})",
       "messages[0].content[0].refusal"},
      {R"({"messages":[{"role":"user","content":[{"type":"refusal","refusal":"no"}]}]})",
       "messages[0].content[0].type", kUnsupported},
      {R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]})", nullptr},
      {R"({"messages":[{"role":"user","content":[{"type":"text","text":1}]}]})",
       "messages[0].content[0].text"},
      {R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},
          {"type":"image_url","image_url":{"url":"x"}}]}]})",
       "messages[0].content[1].type", kUnsupported},
      {R"({"messages":[{"role":"user","content":[{"type":"input_audio"}]}]})",
       "messages[0].content[0].type", kUnsupported},
      {R"({"messages":[{"role":"user","content":["a"]}]})", "messages[0].content[0]"},
      {R"({"messages":[{"role":"user","content":"a","name":5}]})", "messages[0].name"},
  });
  check_chat_fields({
      {R"("logprobs":true)", nullptr},
      {R"("logprobs":1)", "logprobs"},
      {R"("top_logprobs":1)", "top_logprobs"},
      {R"("logprobs":false,"top_logprobs":1)", "top_logprobs"},
      {R"("logprobs":true,"top_logprobs":20)", nullptr},
      {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
      {R"("logprobs":true,"top_logprobs":-1)", "top_logprobs"},
  });
}

TEST(FieldsTest, AThousandBiasesAndNoMore) {
  const auto biases = [](int count) {
    Json body = {{"prompt", "a"}, {"logit_bias", Json::object()}};
    for (int i = 0; i < count; ++i) body["logit_bias"][std::to_string(i)] = 1;
    ReadContext context = kContext;
    context.vocab_size = 2000;
    return seen(read_body(kCompletionBody, body, context).status());
  };
  EXPECT_EQ(biases(1000), "good");
  EXPECT_EQ(biases(1001), "logit_bias -");
}

TEST(FieldsTest, NamesThatAreFieldsAreReserved) {
  for (const char* name :
       {"tokenize", "chat_template", "messages", "tools", "documents", "add_generation_prompt",
        "continue_final_message", "bos_token", "eos_token"}) {
    const std::string values = fmt::format(R"("chat_template_kwargs":{{"{}":true}})", name);
    check_chat_fields({{values.c_str(), fmt::format("chat_template_kwargs.{}", name).c_str()}});
  }
  check_chat_fields({{R"("chat_template_kwargs":{"tokenized":true})", nullptr}});
}

TEST(FieldsTest, ValuesLandWhereTheyBelong) {
  const auto body = parse_json(R"({"prompt":"p","temperature":0.5,"top_k":-1,"seed":-2,"n":3,
      "max_tokens":9,"max_completion_tokens":7,"min_tokens":2,"stop":["x","y"],"ignore_eos":true,
      "stop_token_ids":[4],"logit_bias":{"5":-1.5},"logprobs":2,"echo":true,"cache_salt":"s"})");
  const auto request = read_body(kCompletionBody, *body, kContext);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->generation.sampling.temperature, 0.5F);
  EXPECT_EQ(request->generation.sampling.top_k, 0);
  EXPECT_EQ(request->seed, uint64_t{18446744073709551614ULL});
  EXPECT_EQ(request->generation.choices, 3);
  EXPECT_EQ(request->answer_tokens(), 7);
  EXPECT_EQ(request->generation.stop.tokens_min, 2);
  EXPECT_EQ(request->generation.stop.strings, (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(request->generation.stop.ignore_eos);
  EXPECT_EQ(request->generation.stop.tokens, std::vector<TokenId>{4});
  EXPECT_EQ(request->generation.sampling.logit_bias.front().second, -1.5F);
  EXPECT_EQ(request->generation.logprobs, 2);
  EXPECT_EQ(request->generation.prompt_logprobs, 2);  // echo scores the prompt too
  EXPECT_NE(request->generation.cache_salt, 0U);
}

// The template decides what becomes of them.
TEST(FieldsTest, MessagesKeepTheirShapes) {
  const auto body = parse_json(R"({"messages":[
      {"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":null,"reasoning":"r","unknown":1,"tool_calls":[
        {"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]}]})");
  const auto request = read_body(kChatBody, *body, kContext);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->messages.dump(),
            R"([{"role":"developer","content":[{"type":"text","text":"a"},)"
            R"({"type":"text","text":"b"}]},{"role":"assistant","content":null,"reasoning":"r",)"
            R"("tool_calls":[{"id":"1","type":"function","function":{"name":"f",)"
            R"("arguments":"{\"a\": 1}"}}]}])");
}

// As clients send earlier answers back.
TEST(FieldsTest, ARefusalIsWhatTheAssistantSaid) {
  const auto body = parse_json(R"({"messages":[
      {"role":"assistant","content":null,"refusal":"no"},
      {"role":"assistant","content":[{"type":"refusal","refusal":"never"}],"tool_calls":[]}]})");
  const auto request = read_body(kChatBody, *body, kContext);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->messages.dump(),
            R"([{"role":"assistant","content":"no"},)"
            R"({"role":"assistant","content":[{"type":"text","text":"never"}]}])");
}

TEST(FieldsTest, ArgumentsAreReadWithinTheServersLimits) {
  const auto body = parse_json(R"({"messages":[{"role":"assistant","content":null,"tool_calls":[
      {"id":"1","function":{"name":"f","arguments":"[[[1]]]"}}]}]})");
  ReadContext context = kContext;
  context.json.depth = 3;
  EXPECT_EQ(seen(read_body(kChatBody, *body, context).status()), "good");
  context.json.depth = 2;
  EXPECT_EQ(seen(read_body(kChatBody, *body, context).status()),
            "messages[0].tool_calls[0].function.arguments -");
}

TEST(ApiErrorTest, MessagesAreOneBoundedLineOfWholeCharacters) {
  std::string text = "a\nb";
  for (int i = 0; i < 1000; ++i) text += "é";
  const Json error = Json::parse(error_json(invalid_argument("{}", text)))["error"];
  const auto message = error["message"].get<std::string>();
  EXPECT_LE(message.size(), 1000U);
  EXPECT_TRUE(message.starts_with("a b"));
  EXPECT_TRUE(message.ends_with("é"));
  EXPECT_EQ(Json::parse(error_json(internal_error("at 0x7fff /secret")))["error"]["message"],
            "The server failed to answer this request.");
}

TEST(Fields, WhatTheModelSaysHoldsWhereTheClientSaysNothing) {
  const AnswerDefaults defaults = {.temperature = 0.5F,
                                   .top_p = 0.9F,
                                   .min_p = {},
                                   .repetition = 1.1F,
                                   .top_k = 20,
                                   .ends = {7, 9}};
  ReadContext context = kContext;
  context.defaults = &defaults;
  const auto plain = read_body(kCompletionBody, Json{{"prompt", "x"}}, context).value();
  EXPECT_EQ(plain.generation.sampling.temperature, 0.5F);
  EXPECT_EQ(plain.generation.sampling.top_k, 20);
  EXPECT_EQ(plain.generation.sampling.repetition, 1.1F);
  EXPECT_EQ(plain.generation.sampling.min_p, 0);
  EXPECT_EQ(plain.generation.stop.tokens, (TokenSet{7, 9}));
  const Json asked = {{"prompt", "x"},     {"temperature", 0},          {"top_k", -1},
                      {"top_p", 1},        {"repetition_penalty", 1.3}, {"stop_token_ids", {8}},
                      {"ignore_eos", true}};
  const auto own = read_body(kCompletionBody, asked, context).value();
  EXPECT_EQ(own.generation.sampling.temperature, 0);
  EXPECT_EQ(own.generation.sampling.top_k, 0);
  EXPECT_EQ(own.generation.sampling.top_p, 1);
  EXPECT_EQ(own.generation.sampling.repetition, 1.3F);
  EXPECT_EQ(own.generation.stop.tokens, (TokenSet{8}));
}

}  // namespace
}  // namespace millrace
