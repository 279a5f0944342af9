#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/http_message.h"
#include "server/server.h"

namespace millrace {

// Who may ask, judged by a request's head before anything else of it is. With keys, all is closed
// but what must be open; keys are kept and compared as hashes.
class Admission {
 public:
  explicit Admission(const AccessOptions& options);

  struct Verdict {
    std::optional<HttpResponse> answer;  // instead of a route's: a refusal, or to a preflight
    bool refused = false;
    uint64_t cache_salt = 0;  // 0: the client has no key, or all share the prefix cache
  };
  Verdict judge(const HttpHead& head) const;

  // What every answer to a page of this origin (empty: to no page) says about who may read it:
  // header lines.
  std::string origin_lines(std::string_view origin) const;

 private:
  struct Key {
    std::array<unsigned char, 32> digest;
    uint64_t salt;
  };
  bool is_open(const HttpHead& head) const;
  const Key* find(const std::vector<std::string>& presented) const;
  bool allows(std::string_view origin) const;

  std::vector<Key> keys_;
  std::vector<std::string> origins_;
  bool any_origin_;
  bool open_metrics_;
  bool shared_prefix_cache_;
};

}  // namespace millrace
