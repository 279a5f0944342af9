#include "server/net/tls.h"

#include <utility>

#include <boost/asio/ssl.hpp>

namespace millrace {
namespace asio = boost::asio;
namespace ssl = asio::ssl;

namespace {

class TlsSocket final : public Socket {
 public:
  TlsSocket(Native socket, ssl::context& context) : stream_(std::move(socket), context) {}

  asio::any_io_executor executor() override { return stream_.get_executor(); }

  void open(Done done) override {
    stream_.async_handshake(ssl::stream_base::server, std::move(done));
  }

  void read_some(asio::mutable_buffer into, Moved moved) override {
    stream_.async_read_some(into, std::move(moved));
  }

  void write_some(asio::const_buffer from, Moved moved) override {
    stream_.async_write_some(from, std::move(moved));
  }

  // Waits for the client's close_notify, which also ends the read that is under way.
  void end_sending(Done done) override { stream_.async_shutdown(std::move(done)); }

  bool has_input() const override {
    boost::system::error_code ignored;
    return stream_.next_layer().available(ignored) > 0;
  }

  void close() override {
    boost::system::error_code ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  ssl::stream<Native> stream_;
};

}  // namespace

struct Tls::State {
  ssl::context context{ssl::context::tls_server};
};

Tls::Tls(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tls::~Tls() = default;

absl::StatusOr<std::unique_ptr<Tls>> Tls::create(std::string_view certificate,
                                                 std::string_view key) {
  auto state = std::make_unique<State>();
  ssl::context& context = state->context;
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // OpenSSL would ask for the password of an encrypted key on the terminal.
  context.set_password_callback([](size_t, ssl::context::password_purpose) { return ""; });
  boost::system::error_code error;
  context.use_certificate_chain(asio::buffer(certificate), error);
  if (error) {
    return invalid_argument("--ssl-certfile holds no certificate in PEM form: {}", error.message());
  }
  context.use_private_key(asio::buffer(key), ssl::context::pem, error);
  if (error) {
    return invalid_argument(
        "--ssl-keyfile holds no PEM key without a password for the certificate: {}",
        error.message());
  }
  return std::unique_ptr<Tls>(new Tls(std::move(state)));
}

std::unique_ptr<Socket> Tls::wrap(Socket::Native socket) {
  return std::make_unique<TlsSocket>(std::move(socket), state_->context);
}

}  // namespace millrace
