#include "apps/commands/render.h"

#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "apps/input/input_text.h"
#include "files/gguf_writer.h"
#include "tests/fixtures/text/tiny_vocab.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr char kPublished[] = "../shared/data/templates/";
constexpr char kHello[] = R"([{"role":"user","content":"<|im_end|>"}])";

class Render : public testing::Test {
 protected:
  Render() {
    options_.source = path("jinja");
    options_.context = "-";
    options_.date = "2026-11-22T12:34:56";
  }
  ~Render() override {
    for (const char* extension : {"jinja", "gguf", "folder"}) {
      std::filesystem::remove_all(path(extension));
    }
  }

  static std::string path(std::string_view extension) {
    return std::filesystem::temp_directory_path() /
           fmt::format("millrace-render-{}.{}", ::getpid(), extension);
  }
  void write_template(std::string_view source) const {
    std::ofstream(path("jinja"), std::ios::binary) << source;
  }
  // A model with a vocabulary, and a template if one is given.
  void write_model(std::string_view source) {
    Metadata metadata = tiny_bpe().metadata("gpt2", "gpt-2");
    if (!source.empty()) metadata.set_string("tokenizer.chat_template", std::string(source));
    options_.source = path("gguf");
    ASSERT_TRUE(write_gguf(options_.source, metadata, {}).ok());
  }

  // A Hugging Face folder, with another file in it.
  void write_to_folder(std::string_view name, std::string_view text) {
    options_.source = path("folder");
    std::filesystem::create_directory(options_.source);
    std::ofstream(options_.source + "/tokenizer.json") << R"({
      "model": {"type": "WordLevel", "vocab": {"<s>": 0, "</s>": 1, "hi": 2}},
      "pre_tokenizer": {"type": "Whitespace"},
      "added_tokens": [{"id": 0, "content": "<s>", "special": true},
                       {"id": 1, "content": "</s>", "special": true}]})";
    std::ofstream(options_.source + "/" + std::string(name)) << text;
  }

  absl::StatusOr<std::string> render(std::string_view context) const {
    std::FILE* in = std::tmpfile();
    std::fwrite(context.data(), 1, context.size(), in);
    std::rewind(in);
    std::FILE* out = std::tmpfile();
    const absl::Status status = run_render(options_, in, out);
    std::rewind(out);
    const auto written = read_stream(out);
    std::fclose(in);
    std::fclose(out);
    if (!status.ok()) return status;
    return written;
  }

  RenderOptions options_;
};

TEST_F(Render, ContextsAreObjectsOrLists) {
  write_template(
      "{{ messages[0].content }}|{{ tone }}|{{ add_generation_prompt }}|"
      "{{ strftime_now('%H:%M') }}\n");
  EXPECT_EQ(render(kHello).value(), "<|im_end|>||True|12:34");
  EXPECT_EQ(render(R"({"messages":[{"content":["a"]}],"tone":"x"})").value(), "['a']|x||12:34");
  for (const char* context : {"", "1", "{}", "{\"messages\":", "[1]x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(render(context).status())) << context;
  }
  options_.date = "2026-11-22";
  EXPECT_THAT(message_of(render(kHello).status()), HasSubstr("--date '2026-11-22'"));
}

TEST_F(Render, ShapesMessagesOnlyWhenServed) {
  write_template(
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}"
      "{% endif %}{{ m.content + '' }}{% endfor %}");
  constexpr char kSystem[] =
      R"([{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"u"}]}])";
  EXPECT_THAT(message_of(render(kSystem).status()), HasSubstr("the template refuses: no"));
  options_.as_served = true;
  EXPECT_EQ(render(kSystem).value(), "s\n\nu");
  write_template(
      "{% for m in messages %}{% endfor %}{% for a in range(99999) %}"
      "{% for b in range(99999) %}{% endfor %}{% endfor %}");
  EXPECT_TRUE(absl::IsInvalidArgument(render(kHello).status()));
}

TEST_F(Render, ModelsHaveTokens) {
  write_model("<|im_start|>{{ messages[0].content }}<|im_end|>");
  EXPECT_EQ(render(kHello).value(), "<|im_start|><|im_end|><|im_end|>");
  options_.tokens = true;
  const Json ids = Json::parse(render(kHello).value());
  const auto end = static_cast<int32_t>(tiny_bpe().tokens.size()) - 1;
  EXPECT_EQ(ids.front(), end - 1);
  EXPECT_EQ(ids.back(), end);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 1) << "what a user writes is text";
  write_template("x");
  options_.source = path("jinja");
  EXPECT_THAT(message_of(render(kHello).status()), HasSubstr("--tokens needs a model"));
}

TEST_F(Render, TemplatesCanBeChosen) {
  write_model("");
  EXPECT_THAT(message_of(render(kHello).status()), HasSubstr("--chat-template NAME|FILE"));
  options_.chat_template = "chatml";
  EXPECT_EQ(render(kHello).value(),
            "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n");
  write_template("file {{ messages[0].role }}");
  options_.chat_template = path("jinja");
  EXPECT_EQ(render(kHello).value(), "file user");
  options_.chat_template = "neither";
  EXPECT_THAT(message_of(render(kHello).status()), HasSubstr("'neither' is no file"));
  options_.source = path("jinja");
  EXPECT_THAT(message_of(render(kHello).status()), HasSubstr("--chat-template needs a model"));
}

TEST_F(Render, FoldersBringTemplates) {
  constexpr char kHi[] = R"([{"role":"user","content":"hi </s>"}])";
  write_to_folder("tokenizer_config.json", "{}");
  EXPECT_THAT(message_of(render(kHi).status()), HasSubstr("--chat-template NAME|FILE"));
  write_to_folder("tokenizer_config.json", R"({
    "bos_token": {"content": "<s>"}, "eos_token": "</s>",
    "chat_template": "{{ bos_token + messages[0].content + eos_token }}"})");
  EXPECT_EQ(render(kHi).value(), "<s>hi </s></s>");
  options_.tokens = true;
  EXPECT_EQ(render(kHi).value(), "[0, 2, 1]\n") << "what a user writes is text";
  options_.source += "/tokenizer.json";
  EXPECT_EQ(render(kHi).value(), "[0, 2, 1]\n");
  options_.tokens = false;
  write_to_folder("tokenizer_config.json", R"({"chat_template": [
    {"name": "tool_use", "template": "{{ tools[0] }}"}, {"name": "default", "template": "usual"}]})");
  EXPECT_EQ(render(kHi).value(), "usual");
  EXPECT_EQ(render(R"({"messages": [], "tools": ["t"]})").value(), "t");
  write_to_folder("chat_template.jinja", "from a file");
  EXPECT_EQ(render(kHi).value(), "from a file");
}

TEST_F(Render, FoldersNameWhatIsWrong) {
  for (const auto& [config, error] :
       {std::pair(R"({"chat_template": 3})", "tokenizer_config.json: chat_template is number"),
        std::pair(R"({"chat_template": [{"name": "a"}]})", "chat_template[0].template is missing"),
        std::pair(R"({"chat_template": "{{"})", "tokenizer.chat_template:1"),
        std::pair("{", "tokenizer_config.json is not valid JSON")}) {
    write_to_folder("tokenizer_config.json", config);
    EXPECT_THAT(message_of(render(kHello).status()), HasSubstr(error));
  }
  write_to_folder("tokenizer_config.json", "{}");
  write_to_folder("chat_template.jinja", std::string((1 << 20) + 1, 'x'));
  EXPECT_THAT(message_of(render(kHello).status()), HasSubstr("has more than 1048576 bytes"));
}

TEST_F(Render, PublishedTemplatesGiveWhatJinja2Gives) {
  const auto expected = read_file(std::string(kPublished) + "expected.json");
  const auto contexts = read_file(std::string(kPublished) + "contexts.json");
  if (!expected.ok() || !contexts.ok()) GTEST_SKIP() << kPublished << " is not there";
  const Json context_of = Json::parse(*contexts);
  for (const Json& each : Json::parse(*expected)) {
    const std::string name = each["template"];
    SCOPED_TRACE(name + " with " + each["context"].get<std::string>());
    options_.source = kPublished + name;
    const auto text = render(context_of[each["context"].get<std::string>()].dump());
    if (each.contains("error")) {
      EXPECT_TRUE(absl::IsInvalidArgument(text.status()) || absl::IsUnimplemented(text.status()))
          << each["error"];
    } else {
      EXPECT_EQ(text.value_or(""), each["expected"].get<std::string>());
    }
  }
}

}  // namespace
}  // namespace millrace
