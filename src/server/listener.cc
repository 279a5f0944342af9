#include "server/listener.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
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
  if (!error) error = bind(found.begin()->endpoint(), false);
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

Listener::FileId Listener::file_id(const std::string& path) {
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino};
}

void Listener::accept(Admit admit) {
  if (admit) admit_ = std::move(admit);
  acceptor_.async_accept([this](const boost::system::error_code& error, Socket::Native socket) {
    if (!is_open()) return;
    if (!error) {
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
  remove_file();
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

void Listener::remove_file() {
  const bool ours = file_ != FileId() && file_id(options_.uds) == file_;
  if (ours) unlink(options_.uds.c_str());
}

}  // namespace millrace
