#include "server/net/socket.h"

#include <utility>

namespace millrace {
namespace asio = boost::asio;

namespace {

class PlainSocket final : public Socket {
 public:
  explicit PlainSocket(Native socket) : socket_(std::move(socket)) {}

  asio::any_io_executor executor() override { return socket_.get_executor(); }

  void open(Done done) override { done({}); }

  void read_some(asio::mutable_buffer into, Moved moved) override {
    socket_.async_read_some(into, std::move(moved));
  }

  void write_some(asio::const_buffer from, Moved moved) override {
    socket_.async_write_some(from, std::move(moved));
  }

  void end_sending(Done done) override {
    boost::system::error_code ignored;
    socket_.shutdown(Native::shutdown_send, ignored);
    done({});
  }

  bool has_input() const override {
    boost::system::error_code ignored;
    return socket_.available(ignored) > 0;
  }

  void close() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

 private:
  Native socket_;
};

}  // namespace

std::unique_ptr<Socket> plain_socket(Socket::Native socket) {
  return std::make_unique<PlainSocket>(std::move(socket));
}

}  // namespace millrace
