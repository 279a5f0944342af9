#pragma once

#include <string>

#include "apps/options/cli.h"
#include "base/status.h"
#include "server/server.h"

namespace millrace {

// Longer than anyone waits; its sum with a time cannot overflow.
inline constexpr double kSecondsMax = 1e6;

// The environment's variable that holds a key.
inline constexpr const char* kKeyVariable = "MILLRACE_API_KEY";

// What a client may cost: an option for each.
void bind(CLI::App& command, ServerLimits& limits);

// Where clients come in, and which.
struct DoorOptions {
  std::string host = "127.0.0.1";
  int32_t port = 8000;
  int32_t threads = 2;  // that read requests
  std::string uds;      // path; empty: host and port
  std::string ssl_certfile, ssl_keyfile;
  AccessOptions access;
  std::string api_key_file;

  // Reads the files; the error says which option or file is at fault.
  absl::Status fill(ServerOptions& server) const;
};
void bind(CLI::App& command, DoorOptions& door);

}  // namespace millrace
