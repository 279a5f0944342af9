#include "base/log.h"

#include <array>
#include <fcntl.h>
#include <unistd.h>

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

// Standard error is a pipe while it lives.
class PipedStderr {
 public:
  PipedStderr() : kept_(dup(STDERR_FILENO)) {
    EXPECT_EQ(pipe2(ends_.data(), O_NONBLOCK), 0);
    fcntl(ends_[1], F_SETFL, 0);  // only reading is not to block
    dup2(ends_[1], STDERR_FILENO);
  }
  ~PipedStderr() {
    dup2(kept_, STDERR_FILENO);
    for (const int end : {ends_[0], ends_[1], kept_}) close(end);
  }
  std::string read_all() const {
    std::string text;
    std::array<char, 4096> part;
    for (ssize_t n = 0; (n = read(ends_[0], part.data(), part.size())) > 0;) {
      text.append(part.data(), static_cast<size_t>(n));
    }
    return text;
  }

 private:
  std::array<int, 2> ends_;
  const int kept_;
};

TEST(Log, AReaderThatDoesNotReadKeepsNobody) {
  const PipedStderr pipe;
  set_up_log(spdlog::level::info);
  const std::string text(1000, 'x');
  for (int i = 0; i < 1000; ++i) spdlog::info("{}", text);
  const std::string before = pipe.read_all();
  EXPECT_GT(before.size(), 10000U);
  EXPECT_LT(before.size(), 1000 * text.size());
  spdlog::info("after");
  const std::string after = pipe.read_all();
  EXPECT_NE(after.find("log lines found no room and were dropped"), std::string::npos) << after;
  EXPECT_TRUE(after.ends_with(" info after\n")) << after;
}

}  // namespace
}  // namespace millrace
