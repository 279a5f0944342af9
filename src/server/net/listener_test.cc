#include <arpa/inet.h>
#include <filesystem>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <tuple>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "base/status.h"
#include "server/fixture_test.h"

namespace millrace {
namespace {

constexpr std::string_view kShortBody = R"({"prompt":"abc","max_tokens":2})";

class UnixSocketTest : public ServerTest {
 protected:
  UnixSocketTest() {
    options.address.uds = fmt::format("{}/millrace_{}.sock", testing::TempDir(), getpid());
    std::filesystem::remove(options.address.uds);
  }
  bool is_there() const { return std::filesystem::exists(options.address.uds); }
};

TEST_F(UnixSocketTest, Serves) {
  start();
  EXPECT_EQ(server->port(), 0);
  struct stat found = {};
  ASSERT_EQ(stat(options.address.uds.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
  TestClient client(options.address.uds);
  client.send(post("/v1/completions", kShortBody) + get("/health"));
  EXPECT_EQ(client.read_reply().status, 200);
  EXPECT_EQ(client.read_reply().status, 200);
  server->stop();
  EXPECT_FALSE(is_there());
}

TEST_F(UnixSocketTest, ReplacesADeadOneAndNotALiveOne) {
  {
    // As after a crash: bound, without a listener.
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    options.address.uds.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    close(fd);
  }
  ASSERT_TRUE(is_there());
  start();
  Server second(options);
  const absl::Status status = second.start();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(message_of(status).find(options.address.uds), std::string_view::npos);
  EXPECT_NE(message_of(status).find("in use"), std::string_view::npos) << status;
  second.stop();
  TestClient client(options.address.uds);
  client.send(get("/health"));
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(UnixSocketTest, LeavesWhatIsNotItsOwn) {
  std::filesystem::create_directory(options.address.uds);
  Server first(options);
  EXPECT_EQ(first.start().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(is_there());
  std::filesystem::remove(options.address.uds);

  start();
  std::filesystem::remove(options.address.uds);
  Server second(options);
  ASSERT_TRUE(second.start().ok());
  server->stop();
  EXPECT_TRUE(is_there());
  second.stop();
  EXPECT_FALSE(is_there());

  ServerOptions long_path = options;
  long_path.address.uds = "/tmp/" + std::string(200, 'x');
  EXPECT_EQ(Server(long_path).start().code(), absl::StatusCode::kInvalidArgument);
}

class AddressTest : public ServerTest {
 protected:
  // Whether a server that listens on `host` answers at `address`.
  bool answers(int family, const char* address) const {
    sockaddr_storage storage = {};
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    storage.ss_family = static_cast<sa_family_t>(family);
    v4.sin_port = htons(static_cast<uint16_t>(server->port()));
    void* bytes = family == AF_INET ? static_cast<void*>(&v4.sin_addr) : &v6.sin6_addr;
    EXPECT_EQ(inet_pton(family, address, bytes), 1);
    const int fd = socket(family, SOCK_STREAM, 0);
    const bool connected =
        connect(fd, reinterpret_cast<const sockaddr*>(&storage),
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) == 0;
    close(fd);
    return connected;
  }
  void listen(const char* host) {
    server.reset();
    options.address.host = host;
    start();
  }
  static bool has_v6() {
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    return bound;
  }
};

TEST_F(AddressTest, LocalhostIsBothFamilies) {
  listen("localhost");
  EXPECT_TRUE(server->is_local());
  EXPECT_TRUE(answers(AF_INET, "127.0.0.1"));
  EXPECT_EQ(answers(AF_INET6, "::1"), has_v6());
  // A port that one of them has lost is no port for both.
  ServerOptions second = options;
  second.address.port = server->port();
  EXPECT_FALSE(Server(second).start().ok());
}

TEST_F(AddressTest, AnAddressIsItselfAlone) {
  listen("127.0.0.1");
  EXPECT_TRUE(server->is_local());
  if (!has_v6()) GTEST_SKIP() << "no IPv6";
  EXPECT_FALSE(answers(AF_INET6, "::1"));
  listen("::1");
  EXPECT_TRUE(server->is_local());
  EXPECT_TRUE(answers(AF_INET6, "::1"));
  EXPECT_FALSE(answers(AF_INET, "127.0.0.1"));
}

TEST_F(AddressTest, TheUnspecifiedAddressesAreReachedFromOutside) {
  listen("0.0.0.0");
  EXPECT_FALSE(server->is_local());
  EXPECT_TRUE(answers(AF_INET, "127.0.0.1"));
  if (!has_v6()) GTEST_SKIP() << "no IPv6";
  listen("::");
  EXPECT_FALSE(server->is_local());
  EXPECT_TRUE(answers(AF_INET, "127.0.0.1"));
  EXPECT_TRUE(answers(AF_INET6, "::1"));
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string text_of(BIO* out) {
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out, &bytes);
  std::string text(bytes, static_cast<size_t>(size));
  BIO_free(out);
  return text;
}

Key make_key() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

std::string pem(EVP_PKEY* key, const char* password = nullptr) {
  BIO* out = BIO_new(BIO_s_mem());
  const auto* word = reinterpret_cast<const unsigned char*>(password);
  PEM_write_bio_PrivateKey(out, key, password == nullptr ? nullptr : EVP_aes_128_cbc(), word,
                           password == nullptr ? 0 : 4, nullptr, nullptr);
  return text_of(out);
}

std::string certificate_for(EVP_PKEY* key) {
  X509* certificate = X509_new();
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key, EVP_sha256());
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, certificate);
  X509_free(certificate);
  return text_of(out);
}

// A blocking client under TLS that trusts everyone.
class TlsClient {
 public:
  explicit TlsClient(int32_t port, int version = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    // So that the client's own library does not refuse the old versions.
    SSL_CTX_set_security_level(context_.get(), 0);
    ssl_.reset(SSL_new(context_.get()));
    BIO* connection = BIO_new_connect(fmt::format("127.0.0.1:{}", port).c_str());
    EXPECT_EQ(BIO_do_connect(connection), 1);
    SSL_set_bio(ssl_.get(), connection, connection);
    open_ = SSL_connect(ssl_.get()) == 1;
  }

  bool open() const { return open_; }
  void send(std::string_view bytes) {
    EXPECT_GT(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())), 0);
  }
  // All until the server ends, which has to say so.
  std::string read_all() {
    std::string all;
    char part[4096];
    int count = 0;
    while ((count = SSL_read(ssl_.get(), part, sizeof part)) > 0) {
      all.append(part, static_cast<size_t>(count));
    }
    EXPECT_EQ(SSL_get_error(ssl_.get(), count), SSL_ERROR_ZERO_RETURN);
    return all;
  }
  void goodbye() { SSL_shutdown(ssl_.get()); }

 private:
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, SSL_free};
  bool open_ = false;
};

class TlsTest : public ServerTest {
 protected:
  TlsTest() {
    options.address.ssl_key = pem(key.get());
    options.address.ssl_certificate = certificate_for(key.get());
  }
  const Key key = make_key();
};

TEST_F(TlsTest, Serves) {
  start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(server->port(), version);
    ASSERT_TRUE(client.open());
    client.send(post("/v1/completions", kShortBody) + get("/health", "Connection: close\r\n"));
    const std::string all = client.read_all();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 200 OK\r\n")) << all;
    EXPECT_TRUE(all.ends_with(R"({"status":"ok"})")) << all;
  }
  EXPECT_FALSE(TlsClient(server->port(), TLS1_1_VERSION).open());
}

TEST_F(TlsTest, StreamsAndEndsThem) {
  start();
  TlsClient client(server->port());
  client.send(post("/v1/completions", R"({"prompt":"abc","max_tokens":2000,"stream":true})",
                   "Connection: close\r\n"));
  const std::string all = client.read_all();
  EXPECT_TRUE(all.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n")) << all.size();
}

TEST_F(TlsTest, AClientThatLeavesCancels) {
  start();
  echo->hold(true);
  for (const bool says_so : {true, false}) {
    auto client = std::make_unique<TlsClient>(server->port());
    client->send(post("/v1/completions", kShortBody));
    ASSERT_TRUE(echo->wait_for_running(1));
    if (says_so) client->goodbye();
    client.reset();
    EXPECT_TRUE(echo->wait_for_running(0));
  }
  EXPECT_TRUE(echo->wait_for_cancels(2));
}

TEST_F(TlsTest, PlainHttpIsClosed) {
  start();
  TestClient client(server->port());
  client.send(get("/health"));
  EXPECT_EQ(client.read_reply().status, 0);
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(TlsClient(server->port()).open());
}

TEST_F(TlsTest, ASlowHandshakeIsGivenUp) {
  options.limits.head_timeout = absl::Milliseconds(50);
  start();
  TestClient client(server->port());
  client.send("\x16\x03\x01");
  EXPECT_TRUE(client.closed());
}

TEST_F(TlsTest, ARefusedConnectionIsToldUnderTlsToo) {
  options.limits.connections = 1;
  start();
  echo->hold(true);
  TlsClient first(server->port());
  first.send(post("/v1/completions", kShortBody));
  ASSERT_TRUE(echo->wait_for_running(1));
  TlsClient second(server->port());
  EXPECT_TRUE(second.read_all().starts_with("HTTP/1.1 503 "));
}

TEST_F(TlsTest, StopsWithConnectionsOpen) {
  start();
  TlsClient idle(server->port());
  TestClient silent(server->port());
  const Instant begin = RealClock().now();
  server->begin_drain();
  server->stop();
  EXPECT_LT(RealClock().now() - begin, absl::Seconds(2));
}

TEST_F(TlsTest, WhatIsWrongIsSaid) {
  const std::string certificate = options.address.ssl_certificate,
                    good_key = options.address.ssl_key;
  const std::tuple<std::string, std::string, std::string_view> cases[] = {
      {"nonsense", good_key, "--ssl-certfile"},
      {good_key, good_key, "--ssl-certfile"},
      {certificate, "nonsense", "--ssl-keyfile"},
      {certificate, "", "--ssl-keyfile"},
      {certificate, certificate, "--ssl-keyfile"},
      {certificate, pem(make_key().get()), "--ssl-keyfile"},
      {certificate, pem(key.get(), "word"), "--ssl-keyfile"},
  };
  for (const auto& [chain, own_key, option] : cases) {
    options.address.ssl_certificate = chain;
    options.address.ssl_key = own_key;
    const absl::Status status = Server(options).start();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << option;
    EXPECT_TRUE(message_of(status).starts_with(option)) << status;
    EXPECT_EQ(message_of(status).find('\n'), std::string_view::npos);
  }
}

}  // namespace
}  // namespace millrace
