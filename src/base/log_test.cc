#include "base/log.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::string logged(LogFormat format, std::string_view text) {
  testing::internal::CaptureStderr();
  set_up_log(spdlog::level::info, format);
  spdlog::info("{}", text);
  spdlog::debug("not this");
  return testing::internal::GetCapturedStderr();
}

TEST(Log, TextLinesHaveTimeAndLevel) {
  const std::string line = logged(LogFormat::kText, "hello");
  EXPECT_TRUE(line.ends_with(" info hello\n")) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Log, JsonLinesEscapeWhatTheySay) {
  const std::string line = logged(LogFormat::kJson, "a \"b\" \\ \n \x1b \xc3\xa9");
  EXPECT_TRUE(line.starts_with(R"({"time":")")) << line;
  EXPECT_TRUE(
      line.ends_with(R"(Z","level":"info","message":"a \"b\" \\x5c \\x0a \\x1b \\xc3\\xa9"})"
                     "\n"))
      << line;
}

TEST(Log, ReadyLinesStandAsTheyAre) {
  testing::internal::CaptureStderr();
  set_up_log(spdlog::level::info, LogFormat::kJson);
  log_line(spdlog::level::info, R"("a":{"b":1})");
  log_line(spdlog::level::debug, "not this");
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(line.ends_with(R"("level":"info","a":{"b":1}})"
                             "\n"))
      << line;
}

}  // namespace
}  // namespace millrace
