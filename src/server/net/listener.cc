#include "server/net/listener.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

namespace millrace {
namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using local = asio::local::stream_protocol;

namespace {

// How long accepting pauses when the process has no more file descriptors.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
// Of a Unix socket's file: only its user may connect.
constexpr mode_t kFileMode = 0600;
// What the system keeps for a client that reads slowly.
constexpr int kSendBytes = 128 << 10;

void set_option(Socket::Native& socket, int level, int name, int value) {
  // The socket serves without, too.
  setsockopt(socket.native_handle(), level, name, &value, sizeof value);
}

// A client whose machine or network is gone says nothing: after `silence` without a sign of life
// from its system, whatever is under way on the socket ends with an error.
void set_up_tcp(Socket::Native& socket, absl::Duration silence) {
  const auto seconds = [silence](int divisor) {
    const int64_t whole = absl::ToInt64Seconds(absl::Ceil(silence / divisor, absl::Seconds(1)));
    return static_cast<int>(std::min<int64_t>(whole, 32767));  // the most that Linux takes
  };
  const int64_t milliseconds = std::min(absl::ToInt64Milliseconds(silence), int64_t{1} << 30);
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, SOL_SOCKET, SO_SNDBUF, kSendBytes);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, seconds(2));
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, seconds(6));
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(milliseconds));
}

}  // namespace

Listener::Listener(asio::io_context& network, const ServerOptions& options)
    : network_(network), options_(options), acceptor_(network), pause_(network) {}

Listener::~Listener() { close(); }

absl::Status Listener::open() {
  if (!options_.ssl_certificate.empty()) {
    ASSIGN_OR_RETURN(tls_, Tls::create(options_.ssl_certificate, options_.ssl_key));
  }
  return options_.uds.empty() ? open_port() : open_file();
}

boost::system::error_code Listener::bind(const Protocol::endpoint& endpoint, bool is_file) {
  boost::system::error_code error;
  if (is_open()) acceptor_.close(error);
  acceptor_.open(endpoint.protocol(), error);
  if (!error && is_file) {
    // Linux gives the file the mode of the socket, so nobody can connect before it is narrowed.
    if (fchmod(acceptor_.native_handle(), kFileMode) != 0) {
      error.assign(errno, boost::system::system_category());
    }
  } else if (!error) {
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  }
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  return error;
}

absl::Status Listener::open_port() {
  boost::system::error_code error;
  tcp::resolver resolver(network_);
  const auto found =
      resolver.resolve(options_.host, std::to_string(options_.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  for (auto address = found.begin(); address != found.end(); ++address) {
    if (!(error = bind(address->endpoint(), false))) break;
  }
  if (error) {
    return unavailable("cannot listen on {}:{}: {}", options_.host, options_.port, error.message());
  }
  const auto endpoint = acceptor_.local_endpoint();
  sockaddr_storage address = {};
  std::memcpy(&address, endpoint.data(), std::min(endpoint.size(), sizeof address));
  // Both families have the port at the same place.
  port_ = ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return absl::OkStatus();
}

absl::Status Listener::open_file() {
  const std::string& path = options_.uds;
  if (path.size() >= sizeof sockaddr_un::sun_path) {
    return invalid_argument("the path of a Unix socket may have at most {} bytes: {}",
                            sizeof sockaddr_un::sun_path - 1, path);
  }
  struct stat found = {};
  if (lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return invalid_argument("cannot listen on {}: a file is there", path);
    }
    boost::system::error_code error;
    local::socket probe(network_);
    probe.connect(local::endpoint(path), error);
    if (error == asio::error::connection_refused) unlink(path.c_str());
  }
  const boost::system::error_code error = bind(local::endpoint(path), true);
  if (error) return unavailable("cannot listen on {}: {}", path, error.message());
  file_ = file_id(path);
  return absl::OkStatus();
}

void Listener::accept(Admit admit) {
  if (admit) admit_ = std::move(admit);
  acceptor_.async_accept([this](const boost::system::error_code& error, Socket::Native socket) {
    if (!is_open()) return;
    if (!error) {
      if (options_.uds.empty()) set_up_tcp(socket, options_.limits.stall_timeout);
      admit_(tls_ ? tls_->wrap(std::move(socket)) : plain_socket(std::move(socket)));
      accept({});
      return;
    }
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](const boost::system::error_code& stopped) {
      if (!stopped && is_open()) accept({});
    });
  });
}

void Listener::close() {
  if (!is_open()) return;
  remove_file(options_.uds, file_);
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

}  // namespace millrace
