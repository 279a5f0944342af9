#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/status.h"
#include "base/system/file_id.h"
#include "server/net/socket.h"
#include "server/net/tls.h"
#include "server/server.h"

namespace millrace {

// Where clients come in: a TCP port or a Unix socket, with TLS or without. Lives on one thread.
class Listener {
 public:
  Listener(boost::asio::io_context& network, const ServerOptions& options);
  ~Listener();  // close()

  // Takes the address. A file of a Unix socket that nobody listens on any more is replaced. The
  // error is one line that names where and why.
  absl::Status open();
  int32_t port() const { return port_; }  // 0 of a Unix socket

  using Admit = std::function<void(std::unique_ptr<Socket>)>;
  void accept(Admit admit);  // each client, until close()
  bool is_open() const { return acceptor_.is_open(); }
  void close();

 private:
  using Protocol = boost::asio::generic::stream_protocol;

  absl::Status open_port();
  absl::Status open_file();
  boost::system::error_code bind(const Protocol::endpoint& endpoint, bool is_file);

  boost::asio::io_context& network_;
  const ServerOptions& options_;
  boost::asio::basic_socket_acceptor<Protocol> acceptor_;
  boost::asio::steady_timer pause_;
  std::unique_ptr<Tls> tls_;  // null: plain
  Admit admit_;
  int32_t port_ = 0;
  FileId file_;
};

}  // namespace millrace
