#include "server/access/admission.h"

#include <algorithm>
#include <cstring>

#include <absl/strings/ascii.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/status.h"
#include "server/access/authority.h"
#include "server/http/api_error.h"

namespace millrace {
namespace {

// Seconds for which a browser remembers a preflight's answer; no browser keeps it for longer.
constexpr std::string_view kPreflightSeconds = "7200";

// One in each of the two headers. More would be guesses, and each is hashed.
constexpr size_t kKeysPresentedMax = 2;

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest digest_of(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

// Of another text than the key's own hash, which is compared, and than a request's cache_salt.
uint64_t salt_of(std::string_view key) {
  const Digest digest = digest_of(fmt::format("prefix cache of key {}", key));
  uint64_t salt = 0;
  std::memcpy(&salt, digest.data(), sizeof salt);
  return salt;
}

HttpResponse unauthorized(bool presented) {
  HttpResponse response =
      http_error(401, presented ? "The API key is not one of this server's."
                                : "An API key is needed: Authorization: Bearer KEY.");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

// To a browser that asks whether it may send a page's request.
HttpResponse preflight_response() {
  HttpResponse response;
  response.status = 204;
  response.headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST"},
                      // A star does not cover Authorization.
                      {"Access-Control-Allow-Headers", "Authorization, *"},
                      {"Access-Control-Max-Age", std::string(kPreflightSeconds)}};
  return response;
}

// As hosts are compared: in any case, with a closing dot or without.
std::string compared(std::string_view host) {
  return absl::AsciiStrToLower(to_absl(without_root_dot(host)));
}

}  // namespace

Admission::Admission(const AccessOptions& options, Reach reach)
    : reach_(std::move(reach)),
      origins_(options.allowed_origins),
      any_origin_(std::ranges::find(origins_, "*") != origins_.end()),
      any_host_(options.allowed_hosts.empty()
                    ? !reach_.loopback_only || !options.api_keys.empty()
                    : std::ranges::find(options.allowed_hosts, "*") != options.allowed_hosts.end()),
      open_metrics_(options.open_metrics),
      shared_prefix_cache_(options.shared_prefix_cache) {
  for (const std::string& key : options.api_keys) keys_.push_back({digest_of(key), salt_of(key)});
  hosts_.push_back(compared(reach_.host));
  for (const std::string& host : options.allowed_hosts) hosts_.push_back(compared(host));
}

bool Admission::is_open(const HttpHead& head) const {
  if (head.method != "GET" && head.method != "HEAD") return false;
  return head.path == "/health" || head.path == "/ready" || head.path == "/ping" ||
         (open_metrics_ && head.path == "/metrics");
}

// In constant time, whichever key matches or none.
const Admission::Key* Admission::find(const std::vector<std::string>& presented) const {
  const Key* found = nullptr;
  if (presented.size() > kKeysPresentedMax) return found;
  for (const std::string& text : presented) {
    const Digest digest = digest_of(text);
    for (const Key& key : keys_) {
      const bool same = CRYPTO_memcmp(digest.data(), key.digest.data(), digest.size()) == 0;
      found = same ? &key : found;
    }
  }
  return found;
}

bool Admission::allows(std::string_view origin) const {
  return !origin.empty() && (any_origin_ || std::ranges::find(origins_, origin) != origins_.end());
}

std::optional<HttpResponse> Admission::host_fault(const HttpHead& head) const {
  if (any_host_) return std::nullopt;
  for (const std::string& text : head.hosts) {
    const std::optional<Authority> host = parse_authority(text);
    const bool served = host && (is_local_host(host->host) ||
                                 std::ranges::find(hosts_, compared(host->host)) != hosts_.end());
    if (served) continue;
    return http_error(403, fmt::format("The Host {} is none of this server's names; the option "
                                       "--allowed-hosts adds some.",
                                       text));
  }
  return std::nullopt;
}

std::optional<HttpResponse> Admission::origin_fault(const HttpHead& head) const {
  if (!head.origin || allows(*head.origin)) return std::nullopt;
  const auto own = head.hosts.empty() ? std::nullopt : parse_authority(head.hosts.front());
  if (own && is_origin_of(*head.origin, reach_.scheme, *own)) return std::nullopt;
  return http_error(403, fmt::format("Pages of the origin {} are not served; the option "
                                     "--allowed-origins adds some.",
                                     *head.origin));
}

HeadVerdict Admission::judge(const HttpHead& head) const {
  HeadVerdict verdict;
  std::optional<HttpResponse> fault = host_fault(head);
  if (!fault && head.asks_preflight && head.origin && allows(*head.origin)) {
    verdict.answer = preflight_response();  // a preflight never has a key
    return verdict;
  }
  const Key* key = find(head.keys);
  verdict.locked = key == nullptr && !keys_.empty() && !is_open(head);
  if (verdict.locked) {
    verdict.answer = unauthorized(!head.keys.empty());
  } else {
    verdict.answer = fault ? std::move(fault) : origin_fault(head);
  }
  verdict.refused = verdict.answer.has_value();
  if (key != nullptr && !shared_prefix_cache_) verdict.cache_salt = key->salt;
  return verdict;
}

std::string Admission::origin_lines(std::string_view origin) const {
  if (origins_.empty()) return {};
  std::string lines = any_origin_ ? "" : "Vary: Origin\r\n";
  if (allows(origin)) {
    lines += fmt::format(
        "Access-Control-Allow-Origin: {}\r\n"
        "Access-Control-Expose-Headers: X-Request-Id, Retry-After\r\n",
        any_origin_ ? "*" : origin);
  }
  return lines;
}

}  // namespace millrace
