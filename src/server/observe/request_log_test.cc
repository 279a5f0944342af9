#include "server/observe/request_log.h"

#include <algorithm>
#include <sstream>

#include "base/log.h"
#include "server/fixture_test.h"

namespace millrace {
namespace {

class RequestLogTest : public ServerTest {
 protected:
  ~RequestLogTest() override { set_up_log(spdlog::level::off); }

  // What the log says of some requests to a server of its own.
  std::string logged(LogFormat format, const std::vector<std::string>& requests) {
    start();
    testing::internal::CaptureStderr();
    set_up_log(level, format);
    for (const std::string& request : requests) ask(request);
    server->stop();
    return testing::internal::GetCapturedStderr();
  }
  spdlog::level::level_enum level = spdlog::level::info;

  static std::vector<Json> objects_of(const std::string& lines) {
    std::vector<Json> objects;
    std::istringstream stream(lines);
    for (std::string line; std::getline(stream, line);) {
      objects.push_back(Json::parse(line, nullptr, false));
      EXPECT_TRUE(objects.back().is_object()) << line;
      if (!objects.back().is_object()) objects.back() = Json::object();
      EXPECT_TRUE(std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; })) << line;
    }
    return objects;
  }
};

const Json kSecret = {{"prompt", "a secret"}, {"max_tokens", 4}};

TEST_F(RequestLogTest, UnknownFieldsAreNamedOnceEscaped) {
  const std::string request = post("/v1/completions", R"({"prompt":"a","evil\n":1,"odd name":2})",
                                   "X-Request-Id: mine\r\n");
  level = spdlog::level::debug;
  const std::string text = logged(LogFormat::kText, {request});
  EXPECT_NE(text.find(R"( debug ignored id=mine fields=2 names="evil\x0a,odd name")"),
            std::string::npos)
      << text;
  const std::vector<Json> lines = objects_of(logged(LogFormat::kJson, {request}));
  const auto ignored = std::ranges::find_if(
      lines, [](const Json& line) { return line.value("event", "") == "ignored"; });
  ASSERT_NE(ignored, lines.end());
  EXPECT_EQ((*ignored)["id"], "mine");
  EXPECT_EQ((*ignored)["names"], "evil\n,odd name");
  EXPECT_EQ((*ignored)["level"], "debug");
}

TEST_F(RequestLogTest, OneLineOfTextForEachRequest) {
  const std::string lines =
      logged(LogFormat::kText, {post("/v1/completions", kSecret.dump(), "X-Request-Id: mine\r\n"),
                                get("/health", "X-Request-Id: a=b\"c\\d\r\n")});
  EXPECT_EQ(std::ranges::count(lines, '\n'), 2) << lines;
  EXPECT_NE(lines.find(" info request id=mine method=POST path=/v1/completions status=200 bytes="),
            std::string::npos)
      << lines;
  EXPECT_NE(lines.find(" prompt_tokens=8 cached_tokens=1 generated_tokens=4 "), std::string::npos)
      << lines;
  EXPECT_NE(lines.find(" finish_reason=length\n"), std::string::npos) << lines;
  EXPECT_NE(lines.find(R"( id="a=b\x22c\x5cd" method=GET path=/health status=200 )"),
            std::string::npos)
      << lines;
  EXPECT_EQ(lines.find("secret"), std::string::npos);
}

TEST_F(RequestLogTest, JsonLinesAreValidWhateverClientsSend) {
  const std::vector<Json> lines = objects_of(
      logged(LogFormat::kJson,
             {post("/v1/completions", kSecret.dump(), "X-Request-Id: \"},{\"status\":\"\\\r\n"),
              get("/\"quoted\"\\u0000\\"), get("/%0a\xff\xfe\xc3\xa9"), get(std::string(5000, '/')),
              post("/v1/completions", "{\"prompt\": \"a secret\", \"model\": \"\x1b[31m\"}"),
              "no request\r\n\r\n"}));
  ASSERT_EQ(lines.size(), 6U);
  for (const Json& line : lines) {
    EXPECT_TRUE(line["time"].is_string());
    EXPECT_EQ(line["level"], "info");
    EXPECT_EQ(line["event"], "request");
    EXPECT_FALSE(line["id"].get<std::string>().empty());
    EXPECT_TRUE(line["status"].is_number_integer());
    EXPECT_TRUE(line["ms"].is_number());
    EXPECT_LE(line["path"].get<std::string>().size(), 600U);
    EXPECT_EQ(line.dump().find("secret"), std::string::npos);
  }
  EXPECT_EQ(lines[0]["id"], "\"},{\"status\":\"\\");
  EXPECT_EQ(lines[0]["generated_tokens"], 4);
  EXPECT_EQ(lines[0]["finish_reason"], "length");
  EXPECT_EQ(lines[1]["status"], 404);
  EXPECT_FALSE(lines[1].contains("finish_reason"));
}

TEST_F(RequestLogTest, PromptsOnlyWhereAsked) {
  options.log_prompts = true;
  Json two = kSecret;
  two["prompt"] = Json::array({"a \x1b secret", std::string(3000, 'x')});
  const std::vector<Json> lines = objects_of(
      logged(LogFormat::kJson, {post("/v1/completions", two.dump(), "X-Request-Id: mine\r\n")}));
  ASSERT_EQ(lines.size(), 3U);
  for (const Json& line : lines) EXPECT_EQ(line["id"], "mine");
  EXPECT_EQ(lines[0]["event"], "prompt");
  EXPECT_EQ(lines[0]["text"], "a \x1b secret");
  EXPECT_EQ(lines[1]["tokens"], 3000);
  EXPECT_EQ(lines[1]["text"], std::string(500, 'x') + "...");
}

TEST_F(RequestLogTest, TheServersOwnFaultIsToldThereAlone) {
  echo->failure = absl::InternalError("the wheel is broken");
  const std::vector<Json> lines =
      objects_of(logged(LogFormat::kJson, {post("/v1/completions", kSecret.dump())}));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["status"], 500);
  EXPECT_EQ(lines[0]["error"], "the wheel is broken");
}

TEST_F(RequestLogTest, AClientThatLeavesIsAnAbort) {
  options.limits.ping_interval = absl::Milliseconds(5);
  start();
  testing::internal::CaptureStderr();
  set_up_log(spdlog::level::info, LogFormat::kJson);
  echo->hold(true);
  TestClient client(server->port());
  Json streamed = kSecret;
  streamed["stream"] = true;
  client.send(post("/v1/completions", streamed.dump()));
  ASSERT_TRUE(client.read_until(": ping"));  // the answer has reached its connection
  client.close();
  ASSERT_TRUE(echo->wait_for_cancels(1));
  server->stop();
  const std::vector<Json> lines = objects_of(testing::internal::GetCapturedStderr());
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["status"], 499);
  EXPECT_EQ(lines[0]["finish_reason"], "abort");
  EXPECT_EQ(lines[0]["prompt_tokens"], 8);
  EXPECT_EQ(lines[0]["generated_tokens"], 0);
}

TEST(GenerationReport, SpansAllPrompts) {
  const Instant start;
  const auto at = [&](int seconds) { return start + absl::Seconds(seconds); };
  GenerationReport report;
  report.add({.status = {}, .usage = {5, 2, 9}, .times = {at(1), at(3), at(4), at(8)}});
  report.add({.status = {}, .usage = {5, 3, 9}, .times = {at(1), at(2), at(5), at(9)}});
  EXPECT_EQ(report.usage.cached_tokens, 5);
  EXPECT_EQ(report.times.arrived, at(1));
  EXPECT_EQ(report.times.started, at(2));
  EXPECT_EQ(report.times.first_token, at(4));
  EXPECT_EQ(report.times.finished, at(9));
}

}  // namespace
}  // namespace millrace
