#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json/json_node.h"
#include "base/status.h"
#include "base/string_map.h"

namespace millrace {

// An object of config.json as an architecture reads it. It remembers the keys it was asked for, so
// that those that nothing reads are found. A key that is null is not there. Errors name the key.
//
// `keys` are one key, or several that mean the same with a | between: the first that is there
// counts.
class HubConfig {
 public:
  static absl::StatusOr<HubConfig> parse(std::string_view text);

  bool has(std::string_view keys) { return !find(keys).is_null(); }
  bool is_text(std::string_view keys, std::string_view text);
  bool is_list(std::string_view keys);
  absl::StatusOr<int64_t> integer(std::string_view keys, int64_t min, int64_t max);
  absl::StatusOr<int64_t> integer_or(std::string_view keys, int64_t min, int64_t max,
                                     int64_t fallback);
  absl::StatusOr<double> number(std::string_view keys);  // finite
  absl::StatusOr<double> number_or(std::string_view keys, double fallback);
  absl::StatusOr<bool> boolean_or(std::string_view keys, bool fallback);
  absl::StatusOr<std::string> string_or(std::string_view keys, std::string_view fallback);
  // Arrays; empty where the key is not there. Infinities, as Python's writers have them, are the
  // largest finite numbers.
  absl::StatusOr<std::vector<std::string>> strings(std::string_view keys);
  absl::StatusOr<std::vector<double>> numbers(std::string_view keys);
  // An object within this one; an empty one where the key is not there.
  absl::StatusOr<HubConfig> object(std::string_view keys);
  // What the keys say has no meaning for this model.
  void pass_over(std::string_view keys) { find(keys); }

  // INVALID_ARGUMENT or UNIMPLEMENTED: "config.json: KEY what".
  absl::Status error(std::string_view keys, std::string_view what);
  absl::Status not_done(std::string_view keys, std::string_view what);
  // UNIMPLEMENTED where the flag is other than `only`, for it asks for `what`.
  absl::Status require(std::string_view key, bool only, std::string_view what);

  // UNIMPLEMENTED, naming it: a key that was not read and may change the model's answers.
  absl::Status check_all_read() const;

 private:
  explicit HubConfig(JsonNode node) : node_(std::move(node)) {}
  JsonNode find(std::string_view keys);

  JsonNode node_;
  StringMap<bool> read_;
};

}  // namespace millrace
