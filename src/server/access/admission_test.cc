#include "server/access/admission.h"

#include "server/fixture_test.h"

namespace millrace {
namespace {

class AccessTest : public ServerTest {
 protected:
  AccessTest() { options.access.api_keys = {"first-key", "second-key"}; }

  HttpReply complete(std::string_view headers, const Json& more = Json::object()) {
    Json body = {{"prompt", "abc"}, {"max_tokens", 1}};
    body.update(more);
    return ask(post("/v1/completions", body.dump(), headers));
  }
  uint64_t salt(std::string_view headers, const Json& more = Json::object()) {
    EXPECT_EQ(complete(headers, more).status, 200);
    return echo->last_request().cache_salt;
  }
};

constexpr std::string_view kFirst = "Authorization: Bearer first-key\r\n";
constexpr std::string_view kSecond = "Authorization: Bearer second-key\r\n";

TEST_F(AccessTest, EveryRouteButThreeNeedsAKey) {
  start();
  EXPECT_EQ(ask(get("/ping")).status, 200);
  EXPECT_EQ(ask(get("/health")).status, 200);
  EXPECT_EQ(ask(get("/ready")).status, 200);
  for (const std::string& request :
       {get("/v1/models"), get("/metrics"), get("/nothing"), get("/health/"), get("/"),
        post("/health", "{}"), post("/ping", ""), post("/v1/completions", "{"),
        get("/v1/chat/completions"), post("/v1/completions", R"({"prompt":"abc"})"),
        std::string("OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")}) {
    const HttpReply reply = ask(request);
    expect_error(reply, 401, "-", "invalid_api_key");
    EXPECT_EQ(reply.headers.at("www-authenticate"), "Bearer") << request;
  }
}

TEST_F(AccessTest, ARefusedRequestWithoutABodyKeepsItsConnection) {
  start();
  TestClient client(server->port());
  for (const std::string& request :
       {get("/v1/models"), get("/nothing"), post("/v1/completions", ""),
        std::string("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n"),
        std::string("HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")}) {
    client.send(request);
    const HttpReply reply = client.read_reply(request.starts_with("HEAD"));
    EXPECT_EQ(reply.status, 401) << request;
    EXPECT_FALSE(reply.headers.contains("connection")) << request;
  }
  client.send(get("/v1/models", kFirst));
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(AccessTest, ARefusedRequestThatMightHaveABodyEndsItsConnection) {
  start();
  for (const std::string& request :
       {post("/v1/completions", "{"), std::string("POST /v1/completions HTTP/1.1\r\n\r\n"),
        std::string("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nExpect: cake\r\n\r\n"),
        std::string(
            "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        std::string(
            "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")}) {
    TestClient client(server->port());
    client.send(request);
    const HttpReply reply = client.read_reply();
    expect_error(reply, 401, "-", "invalid_api_key");
    EXPECT_EQ(reply.headers.at("www-authenticate"), "Bearer") << request;
    EXPECT_EQ(reply.headers.at("connection"), "close") << request;
    EXPECT_TRUE(client.closed()) << request;
  }
}

TEST_F(AccessTest, KeysComeInTwoHeaders) {
  start();
  for (const std::string_view headers :
       {kFirst, kSecond, std::string_view("authorization: bearer first-key\r\n"),
        std::string_view("Authorization: BEARER   first-key \r\n"),
        std::string_view("X-Api-Key: second-key\r\n"),
        std::string_view("Authorization: Bearer none\r\nX-API-KEY: second-key\r\n")}) {
    EXPECT_EQ(complete(headers).status, 200) << headers;
  }
  for (const std::string_view headers :
       {std::string_view("Authorization: first-key\r\n"),
        std::string_view("Authorization: Basic first-key\r\n"),
        std::string_view("Authorization: Bearerfirst-key\r\n"),
        std::string_view("Authorization: Bearer\r\n"), std::string_view("Authorization:\r\n"),
        std::string_view("Authorization: Bearer first-ke\r\n"),
        std::string_view("Authorization: Bearer first-keyy\r\n"),
        std::string_view("Authorization: Bearer FIRST-KEY\r\n"),
        std::string_view("Authorization: Bearer first-key, second-key\r\n"),
        std::string_view("X-Api-Key:\r\n"), std::string_view("X-Api-Key: Bearer first-key\r\n"),
        std::string_view("X-Api-Key: a\r\nX-Api-Key: b\r\nX-Api-Key: first-key\r\n"),
        std::string_view("Cookie: first-key\r\n")}) {
    const HttpReply reply = complete(headers);
    expect_error(reply, 401, "-", "invalid_api_key");
    EXPECT_EQ(reply.body.find("key-"), std::string::npos);
    EXPECT_EQ(reply.body.find("first"), std::string::npos) << reply.body;
  }
}

TEST_F(AccessTest, TheBodyOfARefusedRequestIsNotRead) {
  start();
  TestClient client(server->port());
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
      "Expect: 100-continue\r\n\r\n");
  expect_error(client.read_reply(), 401);
  // One that sends it all the same still gets to read its answer.
  expect_error(ask(post("/v1/completions", std::string(100000, ' '))), 401);
}

TEST_F(AccessTest, MetricsAreOpenWhenTheyShall) {
  options.access.open_metrics = true;
  start();
  EXPECT_NE(ask(get("/metrics")).status, 401);
  expect_error(ask(post("/metrics", "")), 401);
  expect_error(ask(get("/v1/models")), 401);
}

TEST_F(AccessTest, EachKeyHasItsOwnPrefixCache) {
  start();
  const uint64_t first = salt(kFirst), second = salt(kSecond);
  EXPECT_NE(first, 0U);
  EXPECT_NE(first, second);
  EXPECT_EQ(salt(kFirst), first);
  EXPECT_EQ(salt("X-Api-Key: first-key\r\n"), first);
  // A request's own salt divides further, and never leads to another key's cache.
  const Json own = {{"cache_salt", "own"}};
  EXPECT_NE(salt(kFirst, own), first);
  EXPECT_NE(salt(kFirst, own), salt(kSecond, own));
  EXPECT_NE(salt(kFirst, {{"cache_salt", "second-key"}}), second);
  EXPECT_NE(salt(kFirst, {{"cache_salt", "first-key"}}), 0U);
}

TEST_F(AccessTest, ThePrefixCacheCanBeShared) {
  options.access.shared_prefix_cache = true;
  start();
  EXPECT_EQ(salt(kFirst), 0U);
  EXPECT_EQ(salt(kSecond), 0U);
  const Json own = {{"cache_salt", "own"}};
  EXPECT_NE(salt(kFirst, own), 0U);
  EXPECT_EQ(salt(kFirst, own), salt(kSecond, own));
}

constexpr std::string_view kPage = "Origin: https://page.example\r\n";

std::string preflight(std::string_view headers) {
  return fmt::format(
      "OPTIONS /v1/completions HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: "
      "POST\r\n"
      "Access-Control-Request-Headers: authorization,x-stainless-os\r\n{}\r\n",
      headers);
}

TEST_F(AccessTest, PagesOfAllowedOriginsMayAsk) {
  options.access.allowed_origins = {"https://page.example", "http://localhost:3000"};
  start();
  TestClient client(server->port());
  client.send(preflight(kPage));
  const HttpReply before = client.read_reply(true);
  EXPECT_EQ(before.status, 204);
  EXPECT_EQ(before.headers.at("access-control-allow-origin"), "https://page.example");
  EXPECT_EQ(before.headers.at("vary"), "Origin");
  EXPECT_EQ(before.headers.at("access-control-max-age"), "7200");
  EXPECT_NE(before.headers.at("access-control-allow-methods").find("POST"), std::string::npos);
  EXPECT_NE(before.headers.at("access-control-allow-headers").find("Authorization"),
            std::string::npos);
  EXPECT_FALSE(before.headers.contains("content-length"));
  // On the same connection, an answer, a stream and an error.
  const std::string headers = fmt::format("{}{}", kPage, kFirst);
  for (const std::string_view body : {R"({"prompt":"abc","max_tokens":1})",
                                      R"({"prompt":"abc","max_tokens":1,"stream":true})", "{"}) {
    client.send(post("/v1/completions", body, headers));
    const HttpReply reply = client.read_reply();
    EXPECT_EQ(reply.headers.at("access-control-allow-origin"), "https://page.example") << body;
    EXPECT_EQ(reply.headers.at("access-control-expose-headers"), "X-Request-Id, Retry-After");
    EXPECT_EQ(reply.headers.at("vary"), "Origin");
  }
  // A page may read why it was refused.
  const HttpReply refused = complete(kPage);
  expect_error(refused, 401);
  EXPECT_EQ(refused.headers.at("access-control-allow-origin"), "https://page.example");
}

TEST_F(AccessTest, PagesOfOtherOriginsMayNot) {
  options.access.allowed_origins = {"https://page.example"};
  start();
  for (const std::string_view origin :
       {"https://page.example.evil", "http://page.example", "https://PAGE.example", "null", "*"}) {
    const std::string header = fmt::format("Origin: {}\r\n", origin);
    const HttpReply asked = ask(preflight(header));
    expect_error(asked, 401);
    EXPECT_FALSE(asked.headers.contains("access-control-allow-origin")) << origin;
    const HttpReply answered = complete(header + std::string(kFirst));
    expect_error(answered, 403, "-", "forbidden");
    EXPECT_FALSE(answered.headers.contains("access-control-allow-origin")) << origin;
    EXPECT_EQ(answered.headers.at("vary"), "Origin");
  }
  // Not every OPTIONS is a preflight.
  expect_error(ask(fmt::format("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", kPage)), 401);
}

TEST_F(AccessTest, NoOriginIsAllowedByDefaultAndAllByAStar) {
  options.access.api_keys.clear();
  start();
  expect_error(ask(preflight(kPage)), 403);
  const HttpReply plain = complete(kPage);
  EXPECT_EQ(plain.status, 403);
  EXPECT_FALSE(plain.headers.contains("access-control-allow-origin"));
  EXPECT_FALSE(plain.headers.contains("vary"));
  server.reset();
  options.access.allowed_origins = {"*"};
  start();
  EXPECT_EQ(complete(kPage).headers.at("access-control-allow-origin"), "*");
}

}  // namespace
}  // namespace millrace
