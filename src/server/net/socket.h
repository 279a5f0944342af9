#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

namespace millrace {

// One client's bytes: over TCP or a Unix socket, plain or under TLS. Lives on one thread, on which
// it calls back; after close() operations under way end with an error. A callback keeps the socket
// alive until it was called.
class Socket {
 public:
  using Native = boost::asio::generic::stream_protocol::socket;
  using Done = std::function<void(const boost::system::error_code&)>;
  using Moved = std::function<void(const boost::system::error_code&, size_t)>;

  virtual ~Socket() = default;
  virtual boost::asio::any_io_executor executor() = 0;
  // First, and once: the handshake, where there is one.
  virtual void open(Done done) = 0;
  virtual void read_some(boost::asio::mutable_buffer into, Moved moved) = 0;
  virtual void write_some(boost::asio::const_buffer from, Moved moved) = 0;
  // Tells the client that no more comes; it can still be read.
  virtual void end_sending(Done done) = 0;
  // Whether bytes are there that have not been read.
  virtual bool has_input() const = 0;
  virtual void close() = 0;
};

std::unique_ptr<Socket> plain_socket(Socket::Native socket);

}  // namespace millrace
