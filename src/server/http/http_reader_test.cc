#include "server/http/http_reader.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "server/http/json_text.h"

namespace millrace {
namespace {

using std::string_literals::operator""s;

const HeadJudge kEveryone = [](const HttpHead&) { return HeadVerdict{}; };

// What the bytes come to: the error's status, 200 for a request, 0 where more would be needed.
int outcome(std::string_view bytes, HttpRequest* request = nullptr) {
  HttpReader reader({}, kEveryone);
  HttpReader::Progress progress = reader.read(bytes);
  if (progress == HttpReader::Progress::kHead) progress = reader.read(bytes);
  if (progress == HttpReader::Progress::kMore) return 0;
  if (progress == HttpReader::Progress::kDone) {
    HttpRequest taken = reader.take();
    if (request != nullptr) *request = std::move(taken);
    return 200;
  }
  const HttpResponse error = reader.error();
  EXPECT_TRUE(error.close);
  const Json object = Json::parse(error.body);
  EXPECT_EQ(object.size(), 1U);
  EXPECT_EQ(object["error"].size(), 4U) << error.body;
  return error.status;
}

std::string with_line(std::string_view line) {
  return fmt::format("GET /health HTTP/1.1\r\nHost: t\r\n{}\r\n\r\n", line);
}
std::string with_line(std::string_view line, std::string_view body) {
  return fmt::format("POST /x HTTP/1.1\r\nHost: t\r\n{}\r\n\r\n{}", line, body);
}
std::string with_target(std::string_view target, std::string_view method = "GET") {
  return fmt::format("{} {} HTTP/1.1\r\nHost: t\r\n\r\n", method, target);
}

TEST(HttpReader, TakesWhatIsRight) {
  HttpRequest request;
  EXPECT_EQ(outcome(with_line("Content-Length: 002", "{}"), &request), 200);
  EXPECT_EQ(request.body, "{}");
  for (const std::string_view line :
       {"X: obs-text \xe9\xff", "X:", "X:   spaces   ", "X: a\tb", "x!#$%&'*+-.^_`|~: y",
        "Expect: 100-Continue", "Transfer-Encoding: CHUNKED\r\n\r\n0"}) {
    EXPECT_EQ(outcome(with_line(line)), 200) << line;
  }
  EXPECT_EQ(outcome("GET /health HTTP/1.0\r\n\r\n"), 200);
  EXPECT_EQ(outcome("GET /health HTTP/1.0\r\nExpect: cake\r\n\r\n"), 200);
  EXPECT_EQ(outcome(with_line("Transfer-Encoding: chunked",
                              "A;name=\"value\"\r\n{\"a\":[[1]]\r\n1\r\n}\r\n0\r\n\r\n"),
                    &request),
            200);
  EXPECT_EQ(request.body, "{\"a\":[[1]]}");
}

TEST(HttpReader, Targets) {
  const std::pair<std::string_view, std::string_view> good[] = {
      {"/health", "/health"},
      {"/health?a=b?c", "/health"},
      {"/", "/"},
      {"//double/../dots/%00", "//double/../dots/%00"},
      {"http://any.host:80/health?x", "/health"},
      {"HTTPS://any.host", "/"},
      {"http://any.host?x", "/"},
      {"*", "*"},
  };
  for (const auto& [target, path] : good) {
    HttpRequest request;
    EXPECT_EQ(outcome(with_target(target), &request), 200) << target;
    EXPECT_EQ(request.path, path);
  }
  for (const std::string& target :
       {""s, "health"s, "any.host:80"s, "ftp://any.host/health"s, "http://"s, "http:///health"s,
        "http:/health"s, "/a b"s, "/a\tb"s, " /a"s, "/a "s, "/\xc3\xa9"s, "/a#b"s, "/a\x7f"s,
        "/a\0b"s, "/a\rb"s, "/a\nb"s, "*x"s}) {
    EXPECT_EQ(outcome(with_target(target)), 400) << target;
  }
  EXPECT_EQ(outcome(with_target("any.host:443", "CONNECT")), 400);
}

TEST(HttpReader, Methods) {
  for (const std::string_view method : {"FOO", "get", "G!T", "PATCH", "TRACE"}) {
    EXPECT_EQ(outcome(with_target("/", method)), 200) << method;
  }
  for (const std::string& method :
       {""s, "G(T"s, "G\tT"s, "GET\t"s, "G\xc3\xa9T"s, "\0"s, "G:T"s, "\"GET\""s, " GET"s}) {
    EXPECT_EQ(outcome(with_target("/", method)), 400) << method;
  }
}

TEST(HttpReader, Versions) {
  for (const std::string_view version :
       {"HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1", "HTTP/1.10", "http/1.1", "HTTP/ 1.1",
        "HTTP/1.1 ", " HTTP/1.1", "HTP/1.1", "ICY", ""}) {
    EXPECT_EQ(outcome(fmt::format("GET / {}\r\nHost: t\r\n\r\n", version)), 400) << version;
  }
}

TEST(HttpReader, HeadersThatTwoReadersCouldReadInTwoWays) {
  for (const std::string& line : {"X : y"s,
                                  " X: y"s,
                                  "X\t: y"s,
                                  "X: y\r\n folded"s,
                                  "X: y\r\n\tfolded"s,
                                  "Content-Length:\r\n 2"s,
                                  "Transfer-Encoding:\r\n\tchunked"s,
                                  "X"s,
                                  ": y"s,
                                  "X\xe9: y"s,
                                  "X: a\0b"s,
                                  "X: a\rb"s,
                                  "X: a\nb"s,
                                  "X: a\x01"s,
                                  "X: a\x7f"s,
                                  "X: y\rY: z"s,
                                  "X: y\nY: z"s,
                                  "X: y\n"s,
                                  "(X): y"s,
                                  "X\0: y"s,
                                  "Host: other"s,
                                  "HOST: t"s}) {
    EXPECT_EQ(outcome(with_line(line)), 400) << line;
  }
  EXPECT_EQ(outcome("GET / HTTP/1.1\r\n X: y\r\nHost: t\r\n\r\n"), 400);
  EXPECT_EQ(outcome("GET / HTTP/1.1\nHost: t\n\n"), 400);
  EXPECT_EQ(outcome("GET / HTTP/1.1\rHost: t\r\r"), 400);
  EXPECT_EQ(outcome("GET / HTTP/1.1\r\n\r\n"), 400);
}

TEST(HttpReader, Lengths) {
  for (const std::string_view line :
       {"Content-Length: 2\r\nContent-Length: 2", "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 2", "Content-Length: 2,", "Content-Length: ", "Content-Length: -2",
        "Content-Length: +2", "Content-Length: 0x2", "Content-Length: 2.0", "Content-Length: 2 2",
        "Content-Length: \"2\"", "Content-Length: 99999999999999999999",
        "Content-Length: 18446744073709551616", "Content-Length: 2a", "content-length: 2;",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nTransfer-Encoding: identity"}) {
    EXPECT_EQ(outcome(with_line(line, "{}")), 400) << line;
  }
  EXPECT_EQ(outcome(with_line("Content-Length: 16777217", "{")), 413);
  EXPECT_EQ(outcome(with_line("Content-Length: 16777216", "{")), 0);
  EXPECT_EQ(outcome(with_line("Expect: cake", "")), 417);
  EXPECT_EQ(outcome(with_line("Expect: 100-continue\r\nExpect: 100-continue", "")), 417);
  EXPECT_EQ(outcome(with_line("Expect: 100-continue, cake", "")), 417);
}

TEST(HttpReader, Encodings) {
  for (const std::string_view value :
       {"chunked, identity", "identity, chunked", "identity", "xchunked", "chunkedx", "gzip",
        "gzip, chunked", "chunked, chunked", "chunked,", ",chunked", "\"chunked\"", "chunked;q=1",
        "chun ked", "",
        "\x0b"
        "chunked",
        "c\xc4\xa7unked"}) {
    EXPECT_EQ(outcome(with_line(fmt::format("Transfer-Encoding: {}", value), "0\r\n\r\n")), 400)
        << value;
  }
  EXPECT_EQ(
      outcome(with_line("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n")),
      400);
  EXPECT_EQ(outcome("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
}

TEST(HttpReader, Chunks) {
  const std::string_view line = "Transfer-Encoding: chunked";
  for (const std::string& body :
       {"zz\r\n{}\r\n0\r\n\r\n"s, "-2\r\n{}\r\n0\r\n\r\n"s, "+2\r\n{}\r\n0\r\n\r\n"s,
        "0x2\r\n{}\r\n0\r\n\r\n"s, " 2\r\n{}\r\n0\r\n\r\n"s, "\r\n2\r\n{}\r\n0\r\n\r\n"s,
        "2\n{}\n0\n\n"s, "2\r\n{}0\r\n\r\n"s, "2\r\n{}x\r\n0\r\n\r\n"s, "2\r\n{}\n0\r\n\r\n"s,
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"s, "10000000000000002\r\n{}\r\n0\r\n\r\n"s,
        ";x\r\n{}\r\n0\r\n\r\n"s, "2;\n\r\n{}\r\n0\r\n\r\n"s, "2\0\r\n{}\r\n0\r\n\r\n"s,
        "2;a\rb\r\n{}\r\n0\r\n\r\n"s, "2;a=\"\nb\"\r\n{}\r\n0\r\n\r\n"s,
        "2 x\r\n{}\r\n0\r\n\r\n"s}) {
    EXPECT_EQ(outcome(with_line(line, body)), 400) << body;
  }
  EXPECT_EQ(outcome(with_line(line, "1000001\r\n")), 413);
  EXPECT_EQ(outcome(with_line(line, "ffffffffffffffff\r\n")), 413);
  // Extensions have no meaning here, and a bound.
  std::string flood;
  for (int i = 0; i < 80; ++i) flood += fmt::format("1;{}\r\nx\r\n", std::string(1000, 'e'));
  EXPECT_EQ(outcome(with_line(line, flood + "0\r\n\r\n")), 431);
  EXPECT_EQ(outcome(with_line(line, "0\r\nX: " + std::string(70000, 'y') + "\r\n\r\n")), 431);
  for (const std::string_view trailer :
       {"X: y", "X: y\r\n z", "Content-Length: 2", "Transfer-Encoding: chunked", "Host: other"}) {
    const std::string body = fmt::format("2\r\n{{}}\r\n0\r\n{}\r\n\r\n", trailer);
    EXPECT_EQ(outcome(with_line(line, body)), 400) << trailer;
  }
}

TEST(HttpReader, BodiesAreNotDecoded) {
  for (const char* coding : {"gzip", "br", "deflate", "zstd", "x-gzip", "identity, gzip", "GZIP"}) {
    const std::string line = fmt::format("Content-Encoding: {}\r\nContent-Length: 2", coding);
    EXPECT_EQ(outcome(with_line(line, "{}")), 415) << coding;
    EXPECT_EQ(outcome(with_line(fmt::format("Content-Encoding: {}", coding))), 200) << coding;
  }
  const std::string chunked = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip";
  EXPECT_EQ(outcome(with_line(chunked, "2\r\n{}\r\n0\r\n\r\n")), 415);
  const std::string both = "Content-Encoding: identity\r\nContent-Encoding: gzip";
  EXPECT_EQ(outcome(with_line(both + "\r\nContent-Length: 2", "{}")), 415);
  EXPECT_EQ(outcome(with_line("Content-Encoding: Identity\r\nContent-Length: 2", "{}")), 200);
}

TEST(HttpReader, WhatFollowsARequestIsLeftForTheNext) {
  const std::string both = with_line("Content-Length: 2", "{}") + with_target("/next");
  std::string_view bytes = both;
  for (const std::string_view path : {"/x", "/next"}) {
    HttpReader reader({}, kEveryone);
    EXPECT_EQ(reader.read(bytes), HttpReader::Progress::kHead);
    EXPECT_EQ(reader.read(bytes), HttpReader::Progress::kDone);
    EXPECT_EQ(reader.take().path, path);
  }
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace millrace
