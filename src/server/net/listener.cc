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
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>

namespace millrace {
namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using local = asio::local::stream_protocol;

namespace {

// How long accepting pauses when the process has no more file descriptors.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
// Of a Unix socket's file: only its owner may connect.
constexpr mode_t kFileMode = 0600;
// What the system keeps for a client that reads slowly.
constexpr int kSendBytes = 128 << 10;

// How often a port that is free at the first address is tried at the others.
constexpr int kFreePortTries = 20;

using Endpoint = asio::generic::stream_protocol::endpoint;

asio::ip::address ip_of(const Endpoint& endpoint) {
  tcp::endpoint address;
  // Its own size() is that of the family, which is known only afterwards.
  std::memcpy(address.data(), endpoint.data(), std::min(endpoint.size(), address.capacity()));
  return address.address();
}

void set_port(Endpoint& endpoint, uint16_t port) {
  // Both families have the port at the same offset.
  reinterpret_cast<sockaddr_in*>(endpoint.data())->sin_port = htons(port);
}

uint16_t port_of(const Endpoint& endpoint) {
  return ntohs(reinterpret_cast<const sockaddr_in*>(endpoint.data())->sin_port);
}

bool is_unspecified(const Endpoint& endpoint) { return ip_of(endpoint).is_unspecified(); }

// Every address of a host. "localhost" is both families' loopback, whatever a hosts file says:
// some clients try only one of them.
std::vector<Endpoint> endpoints_of(asio::io_context& network, const std::string& host,
                                   boost::system::error_code& error) {
  if (host == "localhost") {
    return {tcp::endpoint(asio::ip::address_v4::loopback(), 0),
            tcp::endpoint(asio::ip::address_v6::loopback(), 0)};
  }
  std::vector<Endpoint> endpoints;
  tcp::resolver resolver(network);
  const auto found =
      resolver.resolve(host, "0", tcp::resolver::passive | tcp::resolver::numeric_service, error);
  for (auto entry = found.begin(); entry != found.end(); ++entry) {
    const Endpoint endpoint = entry->endpoint();
    if (std::ranges::find(endpoints, endpoint) == endpoints.end()) endpoints.push_back(endpoint);
  }
  return endpoints;
}

void set_option(Socket::Native& socket, int level, int name, int value) {
  // The socket works without the option, too.
  setsockopt(socket.native_handle(), level, name, &value, sizeof value);
}

// A client whose machine or network is gone sends no end: after `silence` without an
// acknowledgement, operations under way on the socket end with an error.
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

Listener::Listener(asio::io_context& network, const ListenAddress& address,
                   absl::Duration stall_timeout)
    : network_(network), address_(address), stall_timeout_(stall_timeout) {}

Listener::~Listener() { close(); }

absl::Status Listener::open() {
  if (!address_.ssl_certificate.empty()) {
    ASSIGN_OR_RETURN(tls_, Tls::create(address_.ssl_certificate, address_.ssl_key));
  }
  return address_.uds.empty() ? open_port() : open_file();
}

boost::system::error_code Listener::bind(const Protocol::endpoint& endpoint) {
  boost::system::error_code error;
  auto& acceptor = entrances_.emplace_back(network_).acceptor;
  acceptor.open(endpoint.protocol(), error);
  const int family = endpoint.protocol().family();
  if (!error && family == AF_UNIX) {
    // Linux gives the file the mode of the socket, so nobody can connect before it is narrowed.
    if (fchmod(acceptor.native_handle(), kFileMode) != 0) {
      error.assign(errno, boost::system::system_category());
    }
  } else if (!error) {
    acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  }
  if (!error && family == AF_INET6) {
    // "::" means both families, whatever the system's default.
    acceptor.set_option(asio::ip::v6_only(!is_unspecified(endpoint)), error);
  }
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) entrances_.pop_back();
  return error;
}

// All addresses at one port. A family that this machine does not have is left out; a port that is
// taken at one of them is an error, as a client could reach either. Port 0 becomes the first's.
boost::system::error_code Listener::open_all(const std::vector<Protocol::endpoint>& endpoints) {
  boost::system::error_code failure;
  uint16_t port = static_cast<uint16_t>(address_.port);
  for (Protocol::endpoint endpoint : endpoints) {
    set_port(endpoint, port);
    const boost::system::error_code error = bind(endpoint);
    if (error == asio::error::address_in_use) {
      entrances_.clear();
      return error;
    }
    if (error) {
      failure = error;
    } else if (port == 0) {
      port = port_of(entrances_.front().acceptor.local_endpoint());
    }
  }
  if (entrances_.empty()) return failure;
  port_ = port;
  return {};
}

absl::Status Listener::open_port() {
  boost::system::error_code error;
  const std::vector<Protocol::endpoint> endpoints = endpoints_of(network_, address_.host, error);
  // A free port of one address may be taken at another.
  for (int left = address_.port == 0 ? kFreePortTries : 1; !error && left > 0; --left) {
    error = open_all(endpoints);
    if (error != asio::error::address_in_use || left == 1) break;
    error.clear();
  }
  if (error) {
    return unavailable("cannot listen on {}:{}: {}", address_.host, address_.port, error.message());
  }
  loopback_ = std::ranges::all_of(entrances_, [](const Entrance& entrance) {
    return ip_of(entrance.acceptor.local_endpoint()).is_loopback();
  });
  return absl::OkStatus();
}

absl::Status Listener::open_file() {
  const std::string& path = address_.uds;
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
  const boost::system::error_code error = bind(local::endpoint(path));
  if (error) return unavailable("cannot listen on {}: {}", path, error.message());
  file_ = file_id(path);
  return absl::OkStatus();
}

void Listener::accept(Admit admit) {
  admit_ = std::move(admit);
  for (Entrance& entrance : entrances_) accept_at(entrance);
}

void Listener::accept_at(Entrance& entrance) {
  const auto accepted = [this, &entrance](const boost::system::error_code& error,
                                          Socket::Native socket) {
    if (!is_open()) return;
    if (!error) {
      if (address_.uds.empty()) set_up_tcp(socket, stall_timeout_);
      admit_(tls_ ? tls_->wrap(std::move(socket)) : plain_socket(std::move(socket)));
      accept_at(entrance);
      return;
    }
    entrance.pause.expires_after(kAcceptPause);
    entrance.pause.async_wait([this, &entrance](const boost::system::error_code& stopped) {
      if (!stopped && is_open()) accept_at(entrance);
    });
  };
  entrance.acceptor.async_accept(accepted);
}

void Listener::close() {
  if (!is_open()) return;
  remove_file(address_.uds, file_);
  entrances_.clear();
}

}  // namespace millrace
