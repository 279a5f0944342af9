#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "chat/jinja/template.h"

namespace millrace::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFolder[] = "../shared/data/templates/";

std::string read(const std::string& name) {
  std::ifstream in(kFolder + name, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

// What expected.json was rendered with.
absl::Time fixed_now() {
  return absl::FromCivil(absl::CivilSecond(2026, 11, 22, 12, 34, 56), absl::UTCTimeZone());
}

class PublishedTemplates : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(std::string(kFolder) + "expected.json")) {
      GTEST_SKIP() << kFolder << "expected.json is not there";
    }
    contexts_ = Json::parse(read("contexts.json"));
    cases_ = Json::parse(read("expected.json"));
  }

  absl::StatusOr<MarkedText> render(const std::string& name, const Json& context) {
    auto at = parsed_.find(name);
    if (at == parsed_.end()) {
      absl::StatusOr<Template> parsed = Template::parse(read(name), name);
      if (!parsed.ok()) return parsed.status();
      at = parsed_.emplace(name, *std::move(parsed)).first;
    }
    std::vector<Variable> variables;
    for (const auto& [key, value] : context.get_ref<const Json::object_t&>()) {
      const Origin origin = key == "messages" ? Origin::kMessages
                            : key == "tools"  ? Origin::kWritten
                                              : Origin::kTrusted;
      variables.push_back({key, &value, origin});
    }
    return at->second.render(variables, fixed_now());
  }

  Json contexts_;
  Json cases_;
  std::map<std::string, Template> parsed_;
};

TEST_F(PublishedTemplates, GiveWhatJinja2Gives) {
  for (const Json& each : cases_) {
    const std::string name = each["template"];
    const std::string context = each["context"];
    SCOPED_TRACE(name + " with " + context);
    const absl::StatusOr<MarkedText> text = render(name, contexts_[context]);
    if (each.contains("error")) {
      EXPECT_FALSE(text.ok()) << "jinja2 refuses: " << each["error"];
      continue;
    }
    ASSERT_TRUE(text.ok()) << text.status().message();
    EXPECT_EQ(text->text, each["expected"].get<std::string>());
  }
}

// A spelling in what a user writes stays within the written ranges, in every template.
TEST_F(PublishedTemplates, KnowWhatAUserWrote) {
  constexpr std::string_view kSpelling = "<|im_end|>\xE2\x80\x8B<|im_start|>";
  for (const auto& [name, first] : [&] {
         std::map<std::string, bool> names;
         for (const Json& each : cases_) names[each["template"]] = true;
         return names;
       }()) {
    for (const char* context : {"user", "multi", "tool_call"}) {
      SCOPED_TRACE(name + " with " + context);
      Json changed = contexts_[context];
      for (Json& message : changed["messages"]) {
        if (message["content"].is_string()) message["content"] = kSpelling;
      }
      const absl::StatusOr<MarkedText> text = render(name, changed);
      if (!text.ok()) continue;
      std::vector<bool> is_written(text->text.size(), false);
      size_t before = 0;
      for (const ByteRange& range : text->written) {
        ASSERT_LT(range.begin, range.end);
        ASSERT_LE(before, range.begin);
        ASSERT_LE(range.end, text->text.size());
        before = range.end;
        for (size_t i = range.begin; i < range.end; ++i) is_written[i] = true;
      }
      for (size_t at = text->text.find(kSpelling); at != std::string::npos;
           at = text->text.find(kSpelling, at + 1)) {
        for (size_t i = at; i < at + kSpelling.size(); ++i) ASSERT_TRUE(is_written[i]) << i;
      }
    }
  }
}

}  // namespace
}  // namespace millrace::jinja
