#include "apps/commands/inspect.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "apps/terminal/amounts.h"
#include "apps/terminal/one_line.h"
#include "models/random.h"
#include "tests/fixtures/models/edited_model.h"
#include "tests/fixtures/text/tiny_vocab.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

class Inspect : public testing::Test {
 protected:
  ~Inspect() override { std::filesystem::remove(path_); }

  void write_model(std::span<const std::byte> bytes) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::string report(InspectOptions options = {}) {
    options.model = path_;
    std::FILE* out = std::tmpfile();
    const absl::Status status = run_inspect(options, out);
    EXPECT_TRUE(status.ok()) << status;
    std::string text(static_cast<size_t>(std::ftell(out)), '\0');
    std::rewind(out);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), out), text.size());
    std::fclose(out);
    return text;
  }

  const std::string path_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-inspect-{}.gguf", ::getpid());
};

TEST_F(Inspect, ReckonsMemory) {
  const RandomModelShape shape;
  write_model(random_model(shape).value());
  InspectOptions options;
  options.json = true;
  options.max_model_len = 17;  // two blocks of 16
  options.max_num_seqs = 3;
  options.kv_cache_dtype = "f32";
  const auto parsed = nlohmann::json::parse(report(options));
  const int64_t token_bytes = shape.layers * 2 * shape.kv_heads * shape.head_dim * 4;
  EXPECT_EQ(parsed["memory"]["kv_token_bytes"], token_bytes);
  EXPECT_EQ(parsed["memory"]["kv_cache_bytes"], token_bytes * 32 * 3);
  const auto& groups = parsed["memory"]["kv_cache_groups"];
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0]["keeps"], "tokens");
  EXPECT_TRUE(groups[0]["window"].is_null());
  EXPECT_EQ(groups[0]["token_bytes"], token_bytes);
  EXPECT_EQ(groups[0]["block_bytes"], token_bytes * 16);
  EXPECT_EQ(groups[0]["sequence_bytes"], token_bytes * 32);
  EXPECT_EQ(groups[0]["units"], 2 * 3);
  EXPECT_EQ(parsed["memory"]["max_model_len"], 17);
  EXPECT_EQ(parsed["memory"]["kv_cache_dtype"], "F32");
  EXPECT_EQ(parsed["metadata"]["general.architecture"], "llama");
  EXPECT_EQ(parsed["file_bytes"], std::filesystem::file_size(path_));
  EXPECT_EQ(parsed["types"][0]["type"], "F32");
  EXPECT_EQ(parsed["types"][0]["tensors"], parsed["tensors"].size());
  EXPECT_THAT(parsed["cannot_run"].dump(), HasSubstr("tokenizer.ggml.model"));
}

// A window holds no more than itself, a step and a block.
TEST_F(Inspect, ReckonsWindowsApart) {
  RandomModelShape shape;
  shape.architecture = "gemma3";
  shape.window = 64;
  write_model(random_model(shape).value());
  InspectOptions options;
  options.json = true;
  options.max_model_len = 100'000;
  const auto groups = nlohmann::json::parse(report(options))["memory"]["kv_cache_groups"];
  ASSERT_EQ(groups.size(), 2U);
  const int64_t block_bytes = 16 * 2 * shape.kv_heads * shape.head_dim * 2;
  for (const auto& group : groups) {
    EXPECT_EQ(group["block_bytes"], block_bytes);
    const bool window = !group["window"].is_null();
    const int64_t blocks = window ? (63 + 512 + 14) / 16 + 1 : 100'000 / 16;
    EXPECT_EQ(group["sequence_bytes"], blocks * block_bytes) << group;
  }
  EXPECT_THAT(report(), HasSubstr("  window 64 "));
}

TEST_F(Inspect, PrintsTables) {
  write_model(random_model({}).value());
  const std::string text = report();
  EXPECT_THAT(text, HasSubstr("GGUF v3, "));
  EXPECT_THAT(text, HasSubstr("general.architecture"));
  EXPECT_THAT(text, HasSubstr("token_embd.weight"));
  EXPECT_THAT(text, HasSubstr("64 x 64"));
  EXPECT_THAT(text,
              HasSubstr("1 x 256 tokens in F16\n    all tokens  64.0 KiB   256 bytes a token, "
                        "4,096 a block, 65,536 a sequence"));
  EXPECT_THAT(text, HasSubstr("Cannot be run"));
}

TEST_F(Inspect, ShowsWhatAChatTemplateCanDo) {
  write_model(random_model({}).value());
  InspectOptions options;
  options.json = true;
  EXPECT_TRUE(nlohmann::json::parse(report(options))["chat"].is_null());
  options.chat_template = "gemma";
  const auto chat = nlohmann::json::parse(report(options))["chat"];
  EXPECT_EQ(chat["system_role"], false);
  EXPECT_EQ(chat["generation_prompt"], true);
  EXPECT_EQ(chat["content"]["user"], nlohmann::json::array({"text"}));
  EXPECT_EQ(chat["reasoning"], nullptr);
  options.json = false;
  EXPECT_THAT(report(options), HasSubstr("told with the first user's message"));
  options.chat_template = "nothing";
  EXPECT_TRUE(absl::IsNotFound(run_inspect(options, stdout)));
}

TEST_F(Inspect, SaysWhatAModelCanBeDraftedBy) {
  const auto draftable = [this](const std::string& architecture) {
    const TinyVocab vocab = tiny_bpe();
    RandomModelShape shape;
    shape.architecture = architecture;
    shape.vocab = std::ssize(vocab.tokens);
    const Metadata text = vocab.metadata("gpt2", "default");
    write_model(edited(shape, {.metadata =
                                   [&text](Metadata& m) {
                                     for (const auto& [key, value] : text.entries())
                                       EXPECT_TRUE(m.add(key, value).ok());
                                   }})
                    .value());
    return shape.vocab;
  };
  InspectOptions options;
  options.json = true;
  for (const auto& [architecture, trees] :
       {std::pair("llama", true), {"gemma3", true}, {"mamba2", false}, {"granitehybrid", false}}) {
    const int64_t tokens = draftable(architecture);
    const auto drafts = nlohmann::json::parse(report(options))["drafts"];
    EXPECT_THAT(drafts["methods"], ::testing::IsSupersetOf({"ngram", "suffix", "draft_model"}));
    EXPECT_EQ(drafts["trees"], trees) << architecture;
    EXPECT_EQ(drafts["vocabulary"], (nlohmann::json{{"kind", "gpt2"}, {"tokens", tokens}}));
    EXPECT_THAT(report(), HasSubstr(trees ? "form         trees\n" : "chains alone"));
    EXPECT_THAT(report(), HasSubstr(fmt::format(
                              "of the same vocabulary (gpt2, {} tokens), without states", tokens)));
  }
  write_model(random_model({}).value());  // without a vocabulary it cannot be run
  EXPECT_TRUE(nlohmann::json::parse(report(options))["drafts"].is_null());
  EXPECT_THAT(report(), ::testing::Not(HasSubstr("\nDrafts")));
}

TEST_F(Inspect, NamesWhatItCannotRead) {
  std::vector<std::byte> file = random_model({}).value();
  constexpr std::string_view kName = "token_embd.weight";
  const auto found = std::search(file.begin(), file.end(), kName.begin(), kName.end(),
                                 [](std::byte b, char c) { return static_cast<char>(b) == c; });
  ASSERT_NE(found, file.end());
  constexpr uint32_t kIq4Xs = 23;
  constexpr size_t kRankAndDimensions = 4 + 2 * 8;
  std::memcpy(&*found + kName.size() + kRankAndDimensions, &kIq4Xs, sizeof kIq4Xs);
  write_model(file);
  EXPECT_THAT(report(), HasSubstr("element type IQ4_XS is not supported; tensors that have it: 1"));
}

TEST_F(Inspect, SaysWhyAModelWouldNotLoad) {
  const struct {
    Edit edit;
    std::string_view message;
  } cases[] = {
      {with("blk.1.ffn_up.bias", {96}), "biases of the feed-forward network"},
      {set_number("llama.attention.clamp_kqv", 8), "clamping of queries, keys and values"},
      {with("output_norm.weight", {63}), "tensor 'output_norm.weight' is 63, but"},
      {set_string("general.architecture", "grok"), "'grok' is not supported yet"},
  };
  for (const auto& c : cases) {
    write_model(edited({}, c.edit).value());
    const std::string text = report();
    const size_t obstacles = text.find("Cannot be run");
    ASSERT_NE(obstacles, std::string::npos);
    EXPECT_THAT(text.substr(obstacles), HasSubstr(std::string(c.message)));
  }
}

TEST_F(Inspect, RefusesWhatIsNoModelAndWhatNoMemoryHolds) {
  write_model(std::as_bytes(std::span("no model", 8)));
  InspectOptions options;
  options.model = path_;
  EXPECT_THAT(message_of(run_inspect(options, stdout)), HasSubstr("not a GGUF file"));
  write_model(random_model({}).value());
  options.max_num_seqs = int64_t{1} << 60;
  EXPECT_TRUE(absl::IsOutOfRange(run_inspect(options, stdout)));
}

TEST(OneLine, EscapesWhatATerminalObeys) {
  EXPECT_EQ(one_line("plain \xc3\xa4 \xe4\xbd\xa0"), "plain \xc3\xa4 \xe4\xbd\xa0");
  EXPECT_EQ(one_line("a\nb\tc\rd\\"), "a\\nb\\tc\\rd\\\\");
  EXPECT_EQ(one_line("\x1b[31m\x7f"), "\\u{1b}[31m\\u{7f}");
  EXPECT_EQ(one_line("\xe2\x80\xae\xef\xbb\xbf"), "\\u{202e}\\u{feff}");
  EXPECT_EQ(one_line("\xff\xe4\xbd"), "\\xff\\xe4\\xbd");
}

TEST(Amounts, AreGroupedAndScaled) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(98362432), "98,362,432");
  EXPECT_EQ(grouped(-1000), "-1,000");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(98362432), "93.8 MiB");
  EXPECT_EQ(bytes_text(int64_t{5} << 50), "5120.0 TiB");
}

}  // namespace
}  // namespace millrace
