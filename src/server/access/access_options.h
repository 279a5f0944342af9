#pragma once

#include <string>
#include <vector>

namespace millrace {

// Which clients are served.
struct AccessOptions {
  std::vector<std::string> api_keys;  // empty: everyone; else only /health, /ready, /ping need none
  bool open_metrics = false;          // nor does /metrics
  bool shared_prefix_cache = false;   // else each key has a cache of its own
  std::vector<std::string> allowed_origins;  // of other sites' pages; "*": all
  // Names of this server besides the local ones; "*": any. Empty: any, but where only this machine
  // reaches the server and no key is needed.
  std::vector<std::string> allowed_hosts;
};

// How clients reach the server.
struct Reach {
  std::string scheme = "http";  // or https
  std::string host;             // that it was told to listen on
  bool loopback_only = false;   // at addresses that other machines cannot reach
};

}  // namespace millrace
