#include "apps/commands/bench/bench.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "apps/commands/bench/foreign_cpu.h"
#include "apps/commands/bench/profile_lines.h"
#include "apps/commands/bench/rig.h"
#include "files/checkpoint.h"
#include "models/random.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Bench : public testing::Test {
 protected:
  Bench() {
    std::filesystem::create_directory(folder_);
    RandomModelShape shape;
    shape.format = DType::kQ8_0;
    EXPECT_TRUE(write_random_model(path("model.gguf"), shape, [](double) {}).ok());
    options_.compute.model = path("model.gguf");
    options_.compute.threads = 2;
    options_.pp = 24;
    options_.tg = 4;
    options_.batch = {3};
    options_.repeat = 3;
    options_.json = true;
  }
  ~Bench() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return folder_ / name; }

  std::string output_of(const BenchOptions& options) const {
    std::FILE* out = std::tmpfile();
    const absl::Status status = run_bench(options, out);
    EXPECT_TRUE(status.ok()) << status;
    std::string text(static_cast<size_t>(std::ftell(out)), ' ');
    std::rewind(out);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), out), text.size());
    std::fclose(out);
    return text;
  }

  BenchOptions options_;
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("bench_test_" + std::to_string(::getpid()));
};

TEST_F(Bench, MeasuresEveryTestInEveryRound) {
  options_.depth = {0, 40};
  const auto json = nlohmann::json::parse(output_of(options_));
  std::vector<std::string> names;
  for (const auto& result : json["results"]) {
    names.push_back(result["test"]);
    EXPECT_EQ(result["all"].size(), 3U);
    EXPECT_LE(result["least"], result["tokens_per_s"]);
    EXPECT_GE(result["most"], result["tokens_per_s"]);
    EXPECT_GT(result["roofline_percent"], 0);
  }
  EXPECT_THAT(names, ElementsAre("pp24", "pp24 @ d40", "tg4", "tg4 @ d40", "tg4@3"));
  // A step reads all weights once, and at depth 40 keys and values of 40 tokens more, in each of 2
  // layers 2 heads of 16 in f16.
  const auto bytes = [&](size_t i) { return json["results"][i]["bytes_per_step"].get<double>(); };
  EXPECT_EQ(bytes(3) - bytes(2), 40 * 2 * 2 * 2 * 16 * 2);
  EXPECT_EQ(bytes(4) - bytes(2), 2 * 3 * 2 * 2 * 2 * 16 * 2);
  EXPECT_GT(json["roofline"]["bytes_per_s"], 0);
}

// It is not run up to the depth, and reads nothing more there.
TEST_F(Bench, AStateCostsTheSameAtAnyDepth) {
  RandomModelShape shape;
  shape.architecture = "mamba2";
  ASSERT_TRUE(write_random_model(options_.compute.model, shape, [](double) {}).ok());
  options_.depth = {0, 40'000};
  const auto json = nlohmann::json::parse(output_of(options_));
  const auto& results = json["results"];
  ASSERT_EQ(results.size(), 5U);
  EXPECT_EQ(results[1]["test"], "pp24 @ d40000");
  EXPECT_EQ(results[1]["bytes_per_step"], results[0]["bytes_per_step"]);
  EXPECT_EQ(results[3]["bytes_per_step"], results[2]["bytes_per_step"]);
}

TEST_F(Bench, ProfileAddsUpToTheStep) {
  options_.profile = true;
  const auto json = nlohmann::json::parse(output_of(options_));
  ASSERT_EQ(json["profiles"].size(), 3U);
  for (const auto& profile : json["profiles"]) {
    double percent = 0;
    bool barriers = false;
    for (const auto& line : profile["lines"]) {
      percent += line["percent"].get<double>();
      barriers = barriers || line["op"] == "barriers";
    }
    EXPECT_NEAR(percent, 100, 1e-6) << profile["test"];
    EXPECT_TRUE(barriers);
  }
  options_.json = false;
  const std::string text = output_of(options_);
  EXPECT_THAT(text, HasSubstr("waits for slower lanes"));
  EXPECT_THAT(text, HasSubstr("Q8_0 x q8"));
}

TEST_F(Bench, ContendedGenerationIsATestOfItsOwn) {
  options_.contended = true;
  options_.pp = 0;
  const auto json = nlohmann::json::parse(output_of(options_));
  std::vector<std::string> names;
  for (const auto& result : json["results"]) names.push_back(result["test"]);
  EXPECT_THAT(names, ElementsAre("tg4", "tg4 busy", "tg4@3"));
}

TEST_F(Bench, SaysWhatItLacks) {
  options_.pp = options_.tg = 0;
  EXPECT_THAT(run_bench(options_, stdout).message(), HasSubstr("nothing to measure"));
  options_.compute.model.clear();
  EXPECT_THAT(run_bench(options_, stdout).message(), HasSubstr("--model is required"));
}

TEST(BenchTests, AreWhatTheOptionsAskFor) {
  BenchOptions options;
  CLI::App app;
  bind(app, options);
  app.parse("x.gguf --pp 0 --tg 8 --depth 16,0 --batch 2", false);
  EXPECT_FALSE(options.making);
  const std::vector<BenchTest> tests = tests_of(options);
  ASSERT_EQ(tests.size(), 3U);
  EXPECT_EQ(tests[0].name, "tg8 @ d16");
  EXPECT_EQ(tests[0].depth, 16);
  EXPECT_EQ(tests[1].name, "tg8");
  EXPECT_EQ(tests[2].name, "tg8@2");
  EXPECT_EQ(tests[2].all_tokens(), 16);
}

TEST(BenchProfileLines, SplitTheStepAmongItsParts) {
  BenchProfile profile;
  profile.steps = 2;
  profile.lanes = 2;
  profile.time = absl::Milliseconds(20);
  OpTotal op;
  op.subject.op = "linear";
  op.subject.format = DType::kQ4_0;
  op.subject.in.q8 = true;
  op.calls = 4;
  op.time = absl::Milliseconds(24);
  op.bytes = 12e6;
  op.operations = 24e6;
  profile.recording.ops = {op};
  profile.recording.barriers = 6;
  profile.recording.barrier = absl::Milliseconds(4);
  profile.recording.waits = absl::Milliseconds(8);
  const std::vector<ProfileLine> lines = profile_lines(profile);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0].format, "Q4_0 x q8");
  EXPECT_EQ(lines[0].calls, 2);
  EXPECT_DOUBLE_EQ(lines[0].ms, 6);
  EXPECT_DOUBLE_EQ(lines[0].percent, 60);
  EXPECT_DOUBLE_EQ(lines[0].gigabytes_per_s, 1);
  EXPECT_DOUBLE_EQ(lines[0].gigaoperations_per_s, 2);
  EXPECT_EQ(lines[1].calls, 3);
  EXPECT_DOUBLE_EQ(lines[1].percent, 10);
  EXPECT_DOUBLE_EQ(lines[2].percent, 20);
  EXPECT_NEAR(lines[3].percent, 10, 1e-9);
}

TEST(ForeignCpuTest, ReadsTheTimesOfAllCpus) {
  constexpr std::string_view kStat = "cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8\n";
  EXPECT_DOUBLE_EQ(busy_seconds_of(kStat, 100).value(), 1.71);
  EXPECT_FALSE(busy_seconds_of("", 100).has_value());
  EXPECT_FALSE(busy_seconds_of("cpu 1 2", 100).has_value());
  EXPECT_FALSE(busy_seconds_of("intr 1 2 3 4 5 6 7 8 9", 100).has_value());
}

TEST_F(Bench, MakesAModelThatRuns) {
  BenchOptions options;
  CLI::App app;
  bind(app, options);
  app.parse("make --shape smollm2-135m --format Q4_0 " + path("made.gguf"), false);
  ASSERT_TRUE(options.making);
  EXPECT_THAT(output_of(options), HasSubstr("smollm2-135m in Q4_0"));
  const Checkpoint made = Checkpoint::open(path("made.gguf")).value();
  int64_t parameters = 0;
  for (const NamedTensor& tensor : made.tensors()) parameters += tensor.layout.elements();
  EXPECT_EQ(parameters, 134515008);  // the published count
  options_.compute.model = path("made.gguf");
  options_.pp = 4;
  options_.tg = 2;
  options_.batch = {1};
  options_.repeat = 1;
  EXPECT_THAT(output_of(options_), HasSubstr("pp4"));
}

TEST_F(Bench, RefusesWhatCannotBeMade) {
  const auto refusal = [&](const MakeOptions& make) {
    return std::string(run_make(make, stdout).message());
  };
  EXPECT_THAT(refusal({.shape = "gpt-9", .format = "Q4_0", .out = path("no.gguf")}),
              HasSubstr("unknown shape 'gpt-9' (known: granite-3.1-1b-a400m, "));
  EXPECT_THAT(refusal({.shape = "smollm2-135m", .format = "Q9", .out = path("no.gguf")}),
              HasSubstr("unknown format 'Q9' (known: F32"));
  EXPECT_THAT(refusal({.shape = "smollm2-135m", .format = "Q4_K", .out = path("no.gguf")}),
              HasSubstr("rows of 576 elements are no whole blocks of Q4_K"));
  EXPECT_THAT(refusal({.shape = "smollm2-135m", .format = "Q4_0", .out = "/nowhere/no.gguf"}),
              HasSubstr("cannot write"));
  EXPECT_FALSE(std::filesystem::exists(path("no.gguf")));
}

}  // namespace
}  // namespace millrace
