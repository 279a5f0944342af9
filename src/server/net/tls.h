#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "server/net/socket.h"

namespace millrace {

// A certificate chain and its key, for TLS 1.2 and later.
class Tls {
 public:
  // Both are PEM text. The error names the option at fault.
  static absl::StatusOr<std::unique_ptr<Tls>> create(std::string_view certificate,
                                                     std::string_view key);
  ~Tls();

  // A socket whose open() is the handshake.
  std::unique_ptr<Socket> wrap(Socket::Native socket);

 private:
  struct State;
  explicit Tls(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace millrace
