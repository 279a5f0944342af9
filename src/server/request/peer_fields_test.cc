#include <string>

#include <gtest/gtest.h>

#include "server/http/api_error.h"
#include "server/request/field_tables.h"
#include "server/request/request_body.h"

namespace millrace {
namespace {

constexpr ReadContext kReadContext = {.vocab_size = 266};

// A request of each dialect with more members.
Json completion_with(const Json& more) {
  Json body = {{"prompt", "a"}};
  body.update(more);
  return body;
}
Json chat_with(const Json& more) {
  Json body = {{"messages", {{{"role", "user"}, {"content", "a"}}}}};
  body.update(more);
  return body;
}

absl::StatusOr<ApiRequest> completion_of(const Json& more) {
  return read_body(kCompletionBody, completion_with(more), kReadContext);
}
absl::StatusOr<ApiRequest> chat_of(const Json& more) {
  return read_body(kChatBody, chat_with(more), kReadContext);
}

// The field that an error names and its code.
std::string fault_of(const absl::StatusOr<ApiRequest>& request) {
  if (request.ok()) return "none";
  const HttpResponse response = error_response(request.status());
  const Json error = Json::parse(response.body)["error"];
  EXPECT_EQ(response.status, 400);
  return fmt::format("{} {}", json_text(error["param"]), json_text(error["code"]));
}

void expect_refused(const std::string& name, const Json& value) {
  const std::string fault = fmt::format(R"("{}" "unsupported_parameter")", name);
  EXPECT_EQ(fault_of(completion_of({{name, value}})), fault) << value;
  EXPECT_EQ(fault_of(chat_of({{name, value}})), fault) << value;
}
void expect_taken(const std::string& name, const Json& value) {
  EXPECT_EQ(fault_of(completion_of({{name, value}})), "none") << name << ": " << value;
  EXPECT_EQ(fault_of(chat_of({{name, value}})), "none") << name << ": " << value;
}

TEST(PeerFields, EachIsRefusedByItsNameUnlessItAsksForNothing) {
  for (const Field& field : peer_fields().fields) {
    const std::string name(field.name);
    ASSERT_TRUE(std::holds_alternative<UnsupportedField>(field.rule)) << name;
    for (const Json& value : {Json("x"), Json(7), Json(0.25), Json({1, 2}), Json({{"a", 1}})}) {
      expect_refused(name, value);
    }
    expect_taken(name, nullptr);
    std::string_view left = std::get<UnsupportedField>(field.rule).harmless;
    while (!left.empty()) {
      const size_t end = std::min(left.find(' '), left.size());
      expect_taken(name, Json::parse(left.substr(0, end)));
      left.remove_prefix(std::min(end + 1, left.size()));
    }
  }
}

TEST(PeerFields, ConstraintsAreRefusedWhateverTheyAre) {
  for (const char* name : {"grammar", "json_schema", "regex", "ebnf", "format", "stop_regex",
                           "structural_tag", "guided_json", "structured_outputs"}) {
    expect_refused(name, "root ::= \"a\"");
    expect_refused(name, {{"type", "object"}});
  }
  // Each constrains to some JSON.
  expect_refused("json_schema", Json::object());
  expect_refused("format", "json");
  expect_refused("lora", {{{"id", 0}, {"scale", 1}}});
  expect_refused("images", {"aGk="});
  expect_refused("options", {{"num_predict", 5}});
  expect_refused("extra_body", {{"guided_json", {{"type", "object"}}}});
  expect_refused("n_cmpl", 2);
  expect_refused("samplers", {"top_k"});
  expect_refused("do_sample", false);
}

TEST(PeerFields, NumbersAskForNothingHoweverTheyAreWritten) {
  for (const char* name : {"mirostat", "dry_multiplier", "xtc_probability", "dynatemp_range"}) {
    for (const char* zero : {"0", "0.0", "-0.0", "0e5"}) expect_taken(name, Json::parse(zero));
    expect_refused(name, 1e-9);
    expect_refused(name, true);
    expect_refused(name, "0");
  }
  expect_taken("length_penalty", 1);
  expect_taken("length_penalty", 1.0);
}

TEST(PeerFields, WhatHasNoInfluenceIsIgnored) {
  const Json hints = Json::parse(
      R"({"cache_prompt": false, "id_slot": 3, "keep_alive": "5m", "return_progress": true,
          "timings_per_token": true, "n_keep": 10, "dry_base": 2, "dry_allowed_length": 3,
          "mirostat_tau": 3, "mirostat_eta": 0.2, "xtc_threshold": 0.4, "rid": "a", "nobodys": 1})");
  EXPECT_EQ(fault_of(completion_of(hints)), "none");
  EXPECT_EQ(fault_of(chat_of(hints)), "none");
}

TEST(PeerFields, NPredictIsMaxTokens) {
  EXPECT_EQ(completion_of({{"n_predict", 7}})->tokens_max, 7);
  EXPECT_EQ(completion_of({{"n_predict", 7}, {"max_tokens", 7}})->tokens_max, 7);
  const auto unbounded = completion_of({{"n_predict", -1}});
  ASSERT_TRUE(unbounded.ok());
  EXPECT_FALSE(unbounded->answer_tokens());
  EXPECT_TRUE(unbounded->tokens_unbounded);
  EXPECT_EQ(chat_of({{"n_predict", 7}, {"max_completion_tokens", 9}})->answer_tokens(), 9);
  EXPECT_EQ(fault_of(completion_of({{"n_predict", nullptr}, {"max_tokens", 3}})), "none");
  for (const Json& more :
       {Json({{"n_predict", 7}, {"max_tokens", 8}}), Json({{"max_tokens", 8}, {"n_predict", -1}}),
        Json({{"n_predict", 0}}), Json({{"n_predict", -2}}), Json({{"n_predict", 1.5}}),
        Json({{"n_predict", "7"}})}) {
    EXPECT_EQ(fault_of(completion_of(more)), R"("n_predict" null)") << more;
    EXPECT_EQ(fault_of(chat_of(more)), R"("n_predict" null)") << more;
  }
  EXPECT_EQ(fault_of(chat_of({{"n_predict", 3}, {"min_tokens", 4}})), R"("min_tokens" null)");
}

TEST(PeerFields, RepeatPenaltyIsRepetitionPenalty) {
  const auto penalty = [](const Json& more) {
    const auto request = completion_of(more);
    return request.ok() ? request->generation.sampling.repetition : -1;
  };
  EXPECT_EQ(penalty(Json::object()), 1);
  EXPECT_EQ(penalty({{"repetition_penalty", 1.5}}), 1.5F);
  EXPECT_EQ(penalty({{"repeat_penalty", 1.5}}), 1.5F);
  EXPECT_EQ(penalty({{"repeat_penalty", 1.1}, {"repetition_penalty", 1.1}}), 1.1F);
  for (const Json& more : {Json({{"repeat_penalty", 1.1}, {"repetition_penalty", 1.2}}),
                           Json({{"repeat_penalty", 1}, {"repetition_penalty", 1.2}}),
                           Json({{"repeat_penalty", 0}}), Json({{"repeat_penalty", -1}})}) {
    EXPECT_EQ(fault_of(completion_of(more)), R"("repeat_penalty" null)") << more;
  }
}

TEST(PeerFields, AWindowOfPenaltiesIsRefusedWhereThereIsOne) {
  expect_taken("repeat_last_n", 64);
  expect_taken("repeat_last_n", -1);
  for (const char* name :
       {"repeat_penalty", "repetition_penalty", "presence_penalty", "frequency_penalty"}) {
    const Json window = {{name, 1.5}, {"repeat_last_n", 64}};
    EXPECT_EQ(fault_of(chat_of(window)), R"("repeat_last_n" "unsupported_parameter")") << name;
    EXPECT_EQ(fault_of(chat_of({{name, 1.5}, {"repeat_last_n", -1}})), "none") << name;
  }
  EXPECT_EQ(fault_of(chat_of({{"repeat_penalty", 1}, {"repeat_last_n", 64}})), "none");
  EXPECT_EQ(fault_of(chat_of({{"repeat_last_n", -2}})), R"("repeat_last_n" null)");
}

}  // namespace
}  // namespace millrace
