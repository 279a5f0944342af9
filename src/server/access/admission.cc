#include "server/access/admission.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "server/http/api_error.h"

namespace millrace {
namespace {

// Seconds for which a browser remembers a preflight's answer; no browser keeps it for longer.
constexpr std::string_view kPreflightSeconds = "7200";

// One in each of the two headers. More would be guesses, and work for whoever judges them.
constexpr size_t kKeysPresentedMax = 2;

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest digest_of(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

// From another hash than the one that is compared, and than that of a request's own salt.
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

// To a browser that asks whether a page may ask.
HttpResponse preflight_response() {
  HttpResponse response;
  response.status = 204;
  response.headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST"},
                      // The star does not cover the first.
                      {"Access-Control-Allow-Headers", "Authorization, *"},
                      {"Access-Control-Max-Age", std::string(kPreflightSeconds)}};
  return response;
}

}  // namespace

Admission::Admission(const AccessOptions& options)
    : origins_(options.allowed_origins),
      any_origin_(std::ranges::find(origins_, "*") != origins_.end()),
      open_metrics_(options.open_metrics),
      shared_prefix_cache_(options.shared_prefix_cache) {
  for (const std::string& key : options.api_keys) keys_.push_back({digest_of(key), salt_of(key)});
}

bool Admission::is_open(const HttpHead& head) const {
  if (head.method != "GET" && head.method != "HEAD") return false;
  return head.path == "/health" || head.path == "/ready" ||
         (open_metrics_ && head.path == "/metrics");
}

// Takes as long whichever key it is, or none.
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

Admission::Verdict Admission::judge(const HttpHead& head) const {
  Verdict verdict;
  if (head.asks_preflight && allows(head.origin)) {
    verdict.answer = preflight_response();  // no browser shows a key here
    return verdict;
  }
  const Key* key = find(head.keys);
  if (key == nullptr && !keys_.empty() && !is_open(head)) {
    verdict.refused = true;
    verdict.answer = unauthorized(!head.keys.empty());
  } else if (key != nullptr && !shared_prefix_cache_) {
    verdict.cache_salt = key->salt;
  }
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
