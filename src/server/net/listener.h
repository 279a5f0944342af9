#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/status.h"
#include "base/system/file_id.h"
#include "server/net/listen_address.h"
#include "server/net/socket.h"
#include "server/net/tls.h"

namespace millrace {

// Where clients connect: a TCP port, of every address that the host has, or a Unix socket; with TLS
// or without. Lives on one thread.
class Listener {
 public:
  Listener(boost::asio::io_context& network, const ListenAddress& address,
           absl::Duration stall_timeout);
  ~Listener();  // close()

  // Binds and listens. The file of a Unix socket without a listener is replaced. The error is one
  // line that names the address and the reason.
  absl::Status open();
  int32_t port() const { return port_; }  // 0 of a Unix socket

  using Admit = std::function<void(std::unique_ptr<Socket>)>;
  void accept(Admit admit);  // each client, until close()
  bool is_open() const { return !entrances_.empty(); }
  void close();

  // After open().
  bool has_tls() const { return tls_ != nullptr; }
  bool is_loopback() const { return loopback_; }  // all addresses are this machine's own

 private:
  using Protocol = boost::asio::generic::stream_protocol;
  // One address that is listened on.
  struct Entrance {
    explicit Entrance(boost::asio::io_context& network) : acceptor(network), pause(network) {}
    boost::asio::basic_socket_acceptor<Protocol> acceptor;
    boost::asio::steady_timer pause;
  };

  absl::Status open_port();
  absl::Status open_file();
  boost::system::error_code open_all(const std::vector<Protocol::endpoint>& endpoints);
  boost::system::error_code bind(const Protocol::endpoint& endpoint);
  void accept_at(Entrance& entrance);

  boost::asio::io_context& network_;
  const ListenAddress& address_;
  const absl::Duration stall_timeout_;  // of a client that reads nothing
  std::list<Entrance> entrances_;
  std::unique_ptr<Tls> tls_;  // null: plain
  Admit admit_;
  int32_t port_ = 0;
  bool loopback_ = false;
  FileId file_;
};

}  // namespace millrace
