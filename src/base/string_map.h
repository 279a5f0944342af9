#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <absl/container/flat_hash_map.h>

namespace millrace {

// Hash map from strings that is asked with std::string_view without making a std::string.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
struct StringEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return a == b; }
};
template <typename Value>
using StringMap = absl::flat_hash_map<std::string, Value, StringHash, StringEqual>;
// Keys are views: the owner of the bytes outlives the map.
template <typename Value>
using StringViewMap = absl::flat_hash_map<std::string_view, Value, StringHash, StringEqual>;

}  // namespace millrace
