#pragma once

#include <cstdint>
#include <string>

namespace millrace {

// Where a server listens.
struct ListenAddress {
  std::string host = "127.0.0.1";        // an address or a name
  int32_t port = 8000;                   // 0: any free one
  std::string uds;                       // path of a Unix socket to listen on instead
  std::string ssl_certificate, ssl_key;  // PEM text; empty: no TLS
};

}  // namespace millrace
