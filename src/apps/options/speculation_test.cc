#include "apps/options/speculation.h"

#include <algorithm>
#include <string>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

absl::StatusOr<SpeculationConfig> config_of(const std::string& json, int64_t step_rows = 512) {
  SpeculationOptions options;
  options.json = json;
  return options.config({.max_num_batched_tokens = step_rows});
}

struct Fault {
  std::string json;
  std::string message;  // behind the option's name
  int64_t step_rows = 512;
};

void expect_faults(std::initializer_list<Fault> faults) {
  for (const Fault& fault : faults) {
    const auto config = config_of(fault.json, fault.step_rows);
    ASSERT_FALSE(config.ok()) << fault.json;
    const std::string message(message_of(config.status()));
    EXPECT_THAT(message, StartsWith("--speculative-config")) << fault.json;
    EXPECT_THAT(message, HasSubstr(fault.message)) << fault.json;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 500U) << message;
  }
}

TEST(Speculation, ReadsWhatVllmTakes) {
  const auto config = config_of(
      R"({"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 2, "prompt_lookup_max": 4})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->methods, ElementsAre("ngram"));
  EXPECT_EQ(config->drafting.depth_max, 5);
  EXPECT_EQ(config->drafting.nodes_max, 5);
  EXPECT_EQ(config->ngram.match_min, 2);
  EXPECT_EQ(config->ngram.match_max, 4);
  EXPECT_TRUE(config_of("")->methods.empty());
}

TEST(Speculation, WhatIsNoObjectIsRefused) {
  expect_faults({{"ngram", "is not valid JSON"},
                 {R"({"method": "ngram")", "is not valid JSON"},
                 {R"({"method": "ngram"} {})", "is not valid JSON"},
                 {"[]", "is not a JSON object"},
                 {"null", "is not a JSON object"},
                 {R"("ngram")", "is not a JSON object"}});
}

TEST(Speculation, KeysAreKnownAndGivenOnce) {
  expect_faults({{R"({"method": "ngram", "tokens": 3})", "tokens is no field"},
                 {R"({"method": "ngram", "Method": "ngram"})", "Method is no field"},
                 {R"({"method": "ngram", "a\nb": 3})", R"(["a\nb"] is no field)"},
                 {R"({"method": "ngram", "": 3})", R"([""] is no field)"},
                 {fmt::format(R"({{"method": "ngram", "{}": 3}})", std::string(5000, 'x')), "xxx"},
                 {R"({"method": "ngram", "method": "ngram"})", "the key 'method' twice"}});
}

TEST(Speculation, MethodsAreNames) {
  expect_faults({{R"({"method": "medusa"})", "method is 'medusa', none of: auto, ngram"},
                 {R"({"method": "Ngram"})", "method is 'Ngram'"},
                 {R"({"method": ""})", "method is ''"},
                 {R"({"method": "a\nb"})", R"(method is 'a\nb')"},
                 {fmt::format(R"({{"method": "{}"}})", std::string(5000, 'x')), "method is 'xxx"},
                 {R"({"method": null})", "method is null"},
                 {R"({"method": 1})", "method is number"},
                 {R"({"method": {}})", "method is object"},
                 {R"({"method": true})", "method is boolean"}});
}

TEST(Speculation, AListMergesMethods) {
  const auto config = config_of(R"({"method": ["suffix", "ngram"], "num_speculative_tokens": 5})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->methods, ElementsAre("suffix", "ngram"));
  EXPECT_FALSE(config->drafting.automatic);
  EXPECT_EQ(config->drafting.nodes_max, 10);
  expect_faults({{R"({"method": []})", "method is an empty list"},
                 {R"({"method": ["ngram", "medusa"]})", "method[1] is 'medusa', none of: "},
                 {R"({"method": ["ngram", "ngram"]})", "method[1] is 'ngram' once more"},
                 {R"({"method": ["auto"]})", "method[0] is 'auto', which stands alone"},
                 {R"({"method": ["ngram", "auto"]})", "method[1] is 'auto'"},
                 {R"({"method": ["ngram", null]})", "method[1] is null"},
                 {R"({"method": [["ngram"]]})", "method[0] is array"},
                 {R"({"method": [1]})", "method[0] is number"}});
}

TEST(Speculation, WithoutANameAllMethodsCompete) {
  for (const char* json : {"{}", R"({"method": "auto"})", R"({"prompt_lookup_min": 2})"}) {
    const auto config = config_of(json);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_THAT(config->methods, ElementsAre("ngram", "suffix"));
    EXPECT_TRUE(config->drafting.automatic);
  }
  EXPECT_FALSE(config_of(R"({"method": "ngram"})")->drafting.automatic);
}

// An option that changes nothing is a mistake.
TEST(Speculation, KeysAreOfMethodsThatDraft) {
  expect_faults({{R"({"method": "suffix", "prompt_lookup_max": 4})",
                  "prompt_lookup_max is of method ngram, which is not chosen"},
                 {R"({"suffix_decoding_max_tree_depth": 9, "method": ["ngram"]})",
                  "suffix_decoding_max_tree_depth is of method suffix"}});
  EXPECT_TRUE(config_of(R"({"method": ["ngram", "suffix"], "prompt_lookup_max": 4})").ok());
}

TEST(Speculation, SizesAreIntegersWithinBounds) {
  for (const std::string field :
       {"num_speculative_tokens", "max_draft_tokens", "prompt_lookup_min", "prompt_lookup_max"}) {
    for (const std::string value : {"0", "-1", "1025", "99999999999999999999", "1.5", "8.0",
                                    R"("8")", "null", "true", "[8]", "{}"}) {
      expect_faults(
          {{fmt::format(R"({{"method": "ngram", "{}": {}}})", field, value), field + " is "}});
    }
  }
}

TEST(Speculation, SuffixKeysAreWithinBounds) {
  const auto fault = [](const std::string& key, const std::string& value) {
    const std::string field = "suffix_decoding_" + key;
    expect_faults(
        {{fmt::format(R"({{"method": "suffix", "{}": {}}})", field, value), field + " "}});
  };
  for (const char* value : {"0", "-1", "1", "1025", "2.5", "null"}) fault("max_tree_depth", value);
  fault("max_tree_depth", "65");
  for (const char* value : {"-1", "1e3", "null", "[]"}) fault("max_cached_requests", value);
  for (const char* value : {"0", "9", "99999999999999"}) fault("max_cached_bytes", value);
  for (const char* value : {"0", "-1", R"("2")", "null"}) fault("max_spec_factor", value);
  for (const char* value : {"1.5", "-0.1", "true", "null"}) fault("min_token_prob", value);
  expect_faults({{R"({"method": "suffix", "suffix_decoding_max_spec_factor": 1e999})", ""}});
}

TEST(Speculation, ADraftModelIsAFileThatIsThere) {
  expect_faults(
      {{R"({"method": "draft_model"})", "model is missing"},
       {R"({"method": ["ngram", "draft_model"]})", "model is missing"},
       {R"({"method": "draft_model", "model": ""})", "model is ''"},
       {R"({"method": "draft_model", "model": 1})", "model is number"},
       {R"({"method": "draft_model", "model": "/nowhere/x"})", "model is '/nowhere/x', but"},
       {R"({"model": "/nowhere/x"})", "model is '/nowhere/x', but"},
       {R"({"method": "draft_model", "model": "a\nb"})", R"(model is 'a\nb', but)"},
       {fmt::format(R"({{"model": "{}"}})", std::string(9000, 'x')), "model is 'xxx"},
       {R"({"method": "ngram", "model": "."})", "model is of method draft_model"},
       {R"({"tree_width": 2})", "tree_width is of method draft_model"},
       {R"({"model": ".", "draft_p_min": 0.5})", "draft_p_min is for a method that is named"},
       {R"({"model": ".", "min_draft_tokens": 2})", "min_draft_tokens is for a method"}});
}

TEST(Speculation, DraftModelKeysAreWithinBounds) {
  const auto fault = [](const std::string& key, const std::string& value) {
    expect_faults(
        {{fmt::format(R"({{"method": "draft_model", "model": ".", "{}": {}}})", key, value),
          key + " "}});
  };
  fault("tree_width", "0");
  fault("draft_vocab", "0");
  for (const std::string key : {"tree_width", "draft_vocab", "min_draft_tokens"}) {
    for (const std::string value : {"-1", "2147483648", "1.5", R"("2")", "null", "[1]"}) {
      fault(key, value);
    }
  }
  for (const char* value : {"1.5", "-0.1", R"("0.5")", "null"}) fault("draft_p_min", value);
  fault("min_draft_tokens", "5");  // of the 4 that it drafts
  const auto most = config_of(R"({"method": "draft_model", "model": ".", "min_draft_tokens": 4})");
  EXPECT_TRUE(most.ok()) << most.status();
}

TEST(Speculation, BoundsAreInOrder) {
  expect_faults({{R"({"method": "ngram", "prompt_lookup_min": 6})", "prompt_lookup_min is 6"},
                 {R"({"method": "ngram", "prompt_lookup_min": 3, "prompt_lookup_max": 2})",
                  "prompt_lookup_min is 3, but prompt_lookup_max only 2"},
                 {R"({"method": "ngram", "num_speculative_tokens": 9, "max_draft_tokens": 8})",
                  "num_speculative_tokens is 9, but max_draft_tokens only 8"}});
}

TEST(Speculation, AMostBelowTheUsualLeastIsTheLeastToo) {
  const auto config = config_of(R"({"method": "ngram", "prompt_lookup_max": 2})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->ngram.match_min, 2);
}

TEST(Speculation, DraftsHaveRoomInAStep) {
  expect_faults({{R"({"method": "ngram", "num_speculative_tokens": 64})",
                  "num_speculative_tokens is 64, but beside a sequence's last token a step "
                  "(--max-num-batched-tokens) has room for 63",
                  64},
                 {R"({"method": "ngram", "num_speculative_tokens": 8, "max_draft_tokens": 64})",
                  "max_draft_tokens is 64, but", 64},
                 {R"({"method": "ngram"})", "--max-num-batched-tokens 1", 1}});
  EXPECT_TRUE(config_of(R"({"method": "ngram", "num_speculative_tokens": 63})", 64).ok());
}

TEST(Speculation, SizesThatWereNotGivenFit) {
  const auto in_a_small_step = config_of(R"({"method": "ngram"})", 5);
  ASSERT_TRUE(in_a_small_step.ok()) << in_a_small_step.status();
  EXPECT_EQ(in_a_small_step->drafting.depth_max, 4);
  EXPECT_EQ(in_a_small_step->drafting.nodes_max, 4);
  const auto of_few_nodes = config_of(R"({"method": "ngram", "max_draft_tokens": 3})");
  ASSERT_TRUE(of_few_nodes.ok()) << of_few_nodes.status();
  EXPECT_EQ(of_few_nodes->drafting.depth_max, 3);
  EXPECT_EQ(of_few_nodes->drafting.nodes_max, 3);
}

// A script whose variable is not set gives an empty text.
TEST(Speculation, AnEmptyTextIsRefused) {
  CLI::App command;
  SpeculationOptions options;
  bind(command, options);
  std::vector<std::string> arguments = {"", "--speculative-config"};  // the last comes first
  try {
    command.parse(arguments);
    FAIL();
  } catch (const CLI::ParseError& error) {
    EXPECT_THAT(error.what(), StartsWith("--speculative-config"));
  }
}

}  // namespace
}  // namespace millrace
