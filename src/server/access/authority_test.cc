#include "server/access/authority.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Authority, IsAHostAndPerhapsAPort) {
  const auto is = [](std::string_view text, std::string_view host, std::optional<int32_t> port) {
    const auto authority = parse_authority(text);
    return authority && authority->host == host && authority->port == port;
  };
  EXPECT_TRUE(is("localhost", "localhost", std::nullopt));
  EXPECT_TRUE(is("LocalHost:8000", "localhost", 8000));
  EXPECT_TRUE(is("localhost:", "localhost", std::nullopt));
  EXPECT_TRUE(is("localhost.:80", "localhost.", 80));
  EXPECT_TRUE(is("[::1]:8000", "::1", 8000));
  EXPECT_TRUE(is("[FE80::1]", "fe80::1", std::nullopt));
  EXPECT_TRUE(is("a_b.example:65535", "a_b.example", 65535));
  for (const char* text :
       {"", ":80", "localhost:x", "localhost:65536", "localhost:-1", "localhost:+1",
        "localhost:80:90", "localhost:999999999999", "user@localhost", "localhost/x", "[::1",
        "[::1]x", "[localhost]", "[]", "::1", "a b", "a,b", "local\thost", "localhost:80 "}) {
    EXPECT_FALSE(parse_authority(text)) << text;
  }
}

TEST(Authority, LocalHostsCanMeanNothingElse) {
  for (const char* host : {"localhost", "localhost.", "app.localhost", "127.0.0.1", "127.255.0.9",
                           "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(is_local_host(host)) << host;
  }
  for (const char* host :
       {"", ".", "localhost.example", "notlocalhost", "localhost.localdomain", "127.0.0.1.evil.com",
        "127.0.0", "127.1", "128.0.0.1", "0.0.0.0", "::", "::2", "10.0.0.1", "127.0.0.1x",
        "2130706433", "0x7f.0.0.1", "::ffff:10.0.0.1", "localhost.."}) {
    EXPECT_FALSE(is_local_host(host)) << host;
  }
}

TEST(Authority, AnOriginIsTheServersOwnOrNot) {
  const Authority own = {"localhost", 8000};
  EXPECT_TRUE(is_origin_of("http://localhost:8000", "http", own));
  EXPECT_TRUE(is_origin_of("HTTP://LOCALHOST:8000", "http", own));
  EXPECT_TRUE(is_origin_of("http://localhost", "http", {"localhost", std::nullopt}));
  EXPECT_TRUE(is_origin_of("http://localhost", "http", {"localhost", 80}));
  EXPECT_TRUE(is_origin_of("https://[::1]", "https", {"::1", 443}));
  for (const char* origin :
       {"http://localhost", "https://localhost:8000", "http://localhost:8001",
        "http://localhost.:8000", "http://127.0.0.1:8000", "localhost:8000", "null", "", "http://",
        "http://localhost:8000/", "http://localhost:8000, http://localhost:8000",
        "http://evil@localhost:8000", "://localhost:8000"}) {
    EXPECT_FALSE(is_origin_of(origin, "http", own)) << origin;
  }
}

}  // namespace
}  // namespace millrace
