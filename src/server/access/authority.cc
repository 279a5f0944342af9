#include "server/access/authority.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <netinet/in.h>

namespace millrace {
namespace {

constexpr int32_t kPortMax = 65535;

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return lowered;
}

bool is_host_character(char c) {
  const bool is_visible = c > ' ' && c <= '~';
  return is_visible && std::string_view("\"#,/:<>?@[\\]^`{|}").find(c) == std::string_view::npos;
}

// Of what follows a host: nothing, ":" or ":PORT". False: it is none of them.
bool read_port(std::string_view text, std::optional<int32_t>& port) {
  if (text.empty() || text == ":") return true;
  if (!text.starts_with(':') || text.size() > std::string_view(":65535").size()) return false;
  text.remove_prefix(1);
  int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  port = number;
  return number >= 0 && number <= kPortMax;
}

int32_t port_or_default(const Authority& authority, std::string_view scheme) {
  return authority.port.value_or(scheme == "https" ? 443 : 80);
}

bool is_loopback_v4(const in_addr& address) { return ntohl(address.s_addr) >> 24U == 127; }

bool is_loopback_v6(const in6_addr& address) {
  return IN6_IS_ADDR_LOOPBACK(&address) ||
         (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

}  // namespace

std::optional<Authority> parse_authority(std::string_view text) {
  Authority authority;
  std::string_view rest = text;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    authority.host = lower(text.substr(1, end - 1));
    in6_addr address = {};
    if (inet_pton(AF_INET6, authority.host.c_str(), &address) != 1) return std::nullopt;
    rest.remove_prefix(end + 1);
  } else {
    const std::string_view host = text.substr(0, text.find(':'));
    if (host.empty() || !std::ranges::all_of(host, is_host_character)) return std::nullopt;
    authority.host = lower(host);
    rest.remove_prefix(host.size());
  }
  if (!read_port(rest, authority.port)) return std::nullopt;
  return authority;
}

bool is_origin_of(std::string_view origin, std::string_view scheme, const Authority& own) {
  const size_t end = origin.find("://");
  if (end == std::string_view::npos || lower(origin.substr(0, end)) != scheme) return false;
  const std::optional<Authority> page = parse_authority(origin.substr(end + 3));
  return page && page->host == own.host &&
         port_or_default(*page, scheme) == port_or_default(own, scheme);
}

bool is_local_host(std::string_view host) {
  const std::string name(without_root_dot(host));
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  in_addr v4 = {};
  if (inet_pton(AF_INET, name.c_str(), &v4) == 1) return is_loopback_v4(v4);
  in6_addr v6 = {};
  return inet_pton(AF_INET6, name.c_str(), &v6) == 1 && is_loopback_v6(v6);
}

std::string_view without_root_dot(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

}  // namespace millrace
