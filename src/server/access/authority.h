#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

// A host and perhaps a port, as a Host header or a URL has them.
struct Authority {
  std::string host;             // in lower case; an IPv6 address without its brackets
  std::optional<int32_t> port;  // absent: the scheme's own
};

// Absent: it is none, or has more in it than a host and a port.
std::optional<Authority> parse_authority(std::string_view text);

// Whether `origin` ("http://localhost:8000") is what a page of `scheme` at `own` has. An origin of
// another port is another.
bool is_origin_of(std::string_view origin, std::string_view scheme, const Authority& own);

// Whether a host can only mean this machine, whatever a name server says: localhost and names under
// it, 127.0.0.0/8, ::1.
bool is_local_host(std::string_view host);

// Without the dot that says that a name is complete.
std::string_view without_root_dot(std::string_view host);

}  // namespace millrace
