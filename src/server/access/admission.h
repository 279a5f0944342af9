#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/access/access_options.h"
#include "server/http/http_message.h"

namespace millrace {

// Which requests are served, judged by their heads before anything else of them is. With keys, all
// is closed but what must be open; keys are kept and compared as hashes. A page of another site, or
// one that reached this server by a name of its own (DNS rebinding), is refused.
class Admission {
 public:
  explicit Admission(const AccessOptions& options, Reach reach = {});

  HeadVerdict judge(const HttpHead& head) const;

  // Header lines of every answer to a page of this origin (empty: to no page), by which its browser
  // lets it read the answer or not.
  std::string origin_lines(std::string_view origin) const;

 private:
  struct Key {
    std::array<unsigned char, 32> digest;
    uint64_t salt;
  };
  bool is_open(const HttpHead& head) const;
  const Key* find(const std::vector<std::string>& presented) const;
  bool allows(std::string_view origin) const;
  std::optional<HttpResponse> host_fault(const HttpHead& head) const;
  std::optional<HttpResponse> origin_fault(const HttpHead& head) const;

  const Reach reach_;
  std::vector<Key> keys_;
  std::vector<std::string> origins_;
  std::vector<std::string> hosts_;  // in lower case
  bool any_origin_;
  bool any_host_;
  bool open_metrics_;
  bool shared_prefix_cache_;
};

}  // namespace millrace
