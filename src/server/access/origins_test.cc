#include "server/access/admission.h"
#include "server/fixture_test.h"

namespace millrace {
namespace {

// A server on a loopback address without a key, as most are that a browser's machine runs.
class OriginsTest : public ServerTest {
 protected:
  std::string own(std::string_view host = "localhost") const {
    return fmt::format("{}:{}", host, server->port());
  }
  HttpReply ask_as(std::string_view host, std::string_view headers = "",
                   std::string_view target = "/v1/models") {
    return ask(fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n", target, host, headers));
  }
  int complete(std::string_view headers) {
    return ask(post("/v1/completions", R"({"prompt":"abc","max_tokens":1})", headers)).status;
  }
};

TEST_F(OriginsTest, PagesOfOtherSitesAreRefused) {
  start();
  EXPECT_EQ(complete(""), 200);
  for (const std::string_view origin :
       {"http://evil.example", "https://localhost", "null", "", "file://", "http://localhost:1",
        "http://127.0.0.1", "chrome-extension://abc", "*"}) {
    EXPECT_EQ(complete(fmt::format("Content-Type: text/plain\r\nOrigin: {}\r\n", origin)), 403)
        << origin;
  }
  // Whatever the route or method.
  for (const char* path : {"/health", "/metrics", "/v1/models", "/nothing", "/openapi.json"}) {
    const HttpReply reply = ask_as(own(), "Origin: http://evil.example\r\n", path);
    expect_error(reply, 403, "-", "forbidden");
    EXPECT_NE(reply.body.find("--allowed-origins"), std::string::npos);
    EXPECT_NE(reply.body.find("http://evil.example"), std::string::npos);
    EXPECT_FALSE(reply.headers.contains("access-control-allow-origin"));
  }
  const HttpReply preflight =
      ask(fmt::format("OPTIONS /v1/completions HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.example"
                      "\r\nAccess-Control-Request-Method: POST\r\n\r\n",
                      own()));
  expect_error(preflight, 403, "-", "forbidden");
  for (const auto& [name, value] : preflight.headers) {
    EXPECT_FALSE(name.starts_with("access-control")) << name << ": " << value;
  }
}

TEST_F(OriginsTest, ARefusedBodyIsNotRead) {
  start();
  TestClient client(server->port());
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
      "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
  expect_error(client.read_reply(), 403);
  EXPECT_TRUE(client.closed());
}

TEST_F(OriginsTest, TheServersOwnPagesAreServed) {
  start();
  for (const char* host : {"localhost", "127.0.0.1", "[::1]", "app.localhost", "LOCALHOST"}) {
    const std::string headers = fmt::format("Origin: http://{}\r\n", own(host));
    EXPECT_EQ(ask_as(own(host), headers).status, 200) << host;
    EXPECT_EQ(ask_as("localhost:1", headers).status, 403) << host;
  }
  // Two are none of its own, even where both are.
  const std::string origin = fmt::format("Origin: http://{}\r\n", own());
  EXPECT_EQ(ask_as(own(), origin + origin).status, 403);
  EXPECT_EQ(ask_as(own(), origin + "Origin: http://evil.example\r\n").status, 403);
  // Without a Host there is nothing that is its own.
  EXPECT_EQ(ask(fmt::format("GET /v1/models HTTP/1.0\r\n{}\r\n", origin)).status, 403);
  EXPECT_EQ(ask("GET /v1/models HTTP/1.0\r\n\r\n").status, 200);
}

TEST_F(OriginsTest, OnlyLocalNamesAreServedWithoutAKey) {
  start();
  for (const char* host :
       {"localhost", "localhost:1", "LocalHost:8000", "localhost.", "localhost.:80",
        "a.b.localhost", "127.0.0.1", "127.9.9.9:5", "[::1]", "[0:0:0:0:0:0:0:1]:80", ""}) {
    EXPECT_EQ(ask_as(host).status, 200) << host;
  }
  for (const char* host :
       {"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example",
        "evil-localhost", "0.0.0.0", "10.0.0.1", "[::2]", "127.1", "user@localhost",
        "localhost@evil.example", "localhost:port", "localhost evil.example"}) {
    const HttpReply reply = ask_as(host);
    expect_error(reply, 403, "-", "forbidden");
    EXPECT_NE(reply.body.find("--allowed-hosts"), std::string::npos) << host;
  }
  for (const char* path : {"/health", "/metrics", "/nothing", "/ping"}) {
    EXPECT_EQ(ask_as("evil.example", "", path).status, 403) << path;
  }
  EXPECT_EQ(ask("GET /health HTTP/1.0\r\nHost: evil.example\r\n\r\n").status, 403);
  // What is no valid request is that first.
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n").status, 400);
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\nHost: evil.a\r\nHost: evil.b\r\n\r\n").status, 400);
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\n\r\n").status, 400);
}

TEST_F(OriginsTest, ATargetThatIsAUrlIsJudgedToo) {
  start();
  EXPECT_EQ(ask_as("localhost", "", "http://localhost/v1/models").status, 200);
  EXPECT_EQ(ask_as("localhost", "", "http://evil.example/v1/models").status, 403);
  EXPECT_EQ(ask_as("evil.example", "", "http://localhost/v1/models").status, 403);
  EXPECT_EQ(ask_as("localhost", "", "http://localhost@evil.example/v1/models").status, 403);
  const std::string origin = "Origin: http://app.localhost:7\r\n";
  EXPECT_EQ(ask_as("localhost", origin, "http://app.localhost:7/v1/models").status, 200);
  EXPECT_EQ(ask_as("app.localhost:7", origin, "http://localhost/v1/models").status, 403);
}

TEST_F(OriginsTest, AllowedHostsAreServedToo) {
  options.access.allowed_hosts = {"Mill.example", "fd00::5"};
  start();
  for (const char* host :
       {"mill.example", "MILL.EXAMPLE:99", "mill.example.", "[fd00::5]:1", "localhost"}) {
    EXPECT_EQ(ask_as(host).status, 200) << host;
  }
  EXPECT_EQ(ask_as("a.mill.example").status, 403);
  EXPECT_EQ(ask_as("mill.example.evil").status, 403);
  // A page of a name that is served is not yet a page of this server.
  EXPECT_EQ(ask_as("mill.example", "Origin: http://mill.example\r\n").status, 200);
  EXPECT_EQ(ask_as("localhost", "Origin: http://mill.example\r\n").status, 403);
  server.reset();
  options.access.allowed_hosts = {"*"};
  start();
  EXPECT_EQ(ask_as("evil.example").status, 200);
}

TEST_F(OriginsTest, WithAKeyHostsAreJudgedWhereTheyAreNamed) {
  options.access.api_keys = {"key"};
  start();
  const std::string key = "Authorization: Bearer key\r\n";
  EXPECT_EQ(ask_as("evil.example", key).status, 200);
  EXPECT_EQ(ask_as("evil.example").status, 401);
  EXPECT_EQ(ask_as("localhost", key + "Origin: http://evil.example\r\n").status, 403);
  EXPECT_EQ(ask_as("localhost", "Origin: http://evil.example\r\n").status, 401);
  server.reset();
  options.access.allowed_hosts = {"mill.example"};
  start();
  EXPECT_EQ(ask_as("mill.example", key).status, 200);
  EXPECT_EQ(ask_as("evil.example", key).status, 403);
  EXPECT_EQ(ask_as("evil.example").status, 401);
  EXPECT_EQ(ask_as("evil.example", "", "/health").status, 403);
}

TEST(Admission, HostsAreJudgedByReach) {
  HttpHead head;
  head.method = "GET";
  head.path = "/v1/models";
  head.hosts = {"box:8000"};
  const auto refused = [&](const char* allowed_host, const char* listens_on, bool loopback_only) {
    AccessOptions access;
    if (allowed_host != nullptr) access.allowed_hosts = {allowed_host};
    const Reach reach = {.host = listens_on, .loopback_only = loopback_only};
    return Admission(access, reach).judge(head).refused;
  };
  EXPECT_FALSE(refused(nullptr, "0.0.0.0", false));
  EXPECT_TRUE(refused(nullptr, "127.0.0.1", true));
  EXPECT_FALSE(refused(nullptr, "BOX", true));
  EXPECT_TRUE(refused("other", "0.0.0.0", false));
  EXPECT_FALSE(refused("other", "box", false));
}

}  // namespace
}  // namespace millrace
