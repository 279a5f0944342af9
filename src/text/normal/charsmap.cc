#include "text/normal/charsmap.h"

#include <algorithm>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

constexpr size_t kUnitBytes = 4;
// The longest of SentencePiece's own maps have sequences of some twenty bytes and replacements of
// thirty-three (of U+FDFA). Bounds keep the work for each character bounded.
constexpr size_t kMatchBytesMax = 128;
constexpr size_t kReplacementBytesMax = 256;

uint32_t read_unit(std::string_view bytes) {
  uint32_t unit = 0;
  for (size_t i = kUnitBytes; i-- > 0;) unit = unit << 8 | static_cast<uint8_t>(bytes[i]);
  return unit;
}

// The fields of a unit, as in darts.h of Darts-clone 0.32.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FF; }
uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }

}  // namespace

absl::StatusOr<Charsmap> Charsmap::from(std::string_view blob) {
  if (blob.size() < kUnitBytes) return invalid_argument("{} bytes have no size", blob.size());
  const size_t array_bytes = read_unit(blob);
  blob.remove_prefix(kUnitBytes);
  if (array_bytes == 0 || array_bytes % kUnitBytes != 0 || array_bytes > blob.size()) {
    return invalid_argument("its array has {} bytes; {} are there", array_bytes, blob.size());
  }
  Charsmap map;
  for (size_t i = 0; i < array_bytes; i += kUnitBytes) {
    map.units_.push_back(read_unit(blob.substr(i)));
  }
  map.replacements_ = blob.substr(array_bytes);
  if (!is_utf8(map.replacements_)) return invalid_argument("its replacements are not UTF-8");
  for (size_t begin = 0; begin < map.replacements_.size();) {
    const size_t end = map.replacements_.find('\0', begin);
    if (end == std::string::npos) return invalid_argument("its last replacement has no end");
    map.replacement_bytes_max_ = std::max(map.replacement_bytes_max_, end - begin);
    begin = end + 1;
  }
  if (map.replacement_bytes_max_ > kReplacementBytesMax) {
    return invalid_argument("a replacement of {} bytes; at most {}", map.replacement_bytes_max_,
                            kReplacementBytesMax);
  }
  return map;
}

template <typename Take>
Charsmap::Match Charsmap::match(std::string_view text, const Take& take) const {
  Match found;
  size_t at = offset_of(units_.front());
  for (size_t i = 0; i < std::min(text.size(), kMatchBytesMax); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    at ^= byte;
    if (at >= units_.size() || label_of(units_[at]) != byte) break;
    const uint32_t unit = units_[at];
    at ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (at >= units_.size()) break;
    const size_t begin = value_of(units_[at]);
    const bool inside = begin < replacements_.size();
    // In the middle of a character, or of what is not the beginning of one.
    if (!inside || (static_cast<uint8_t>(replacements_[begin]) & 0xC0) == 0x80) continue;
    found = {i + 1, std::string_view(replacements_.c_str() + begin)};
    if (take(found)) break;
  }
  return found;
}

Charsmap::Match Charsmap::longest(std::string_view text) const {
  return match(text, [](const Match&) { return false; });
}

Charsmap::Match Charsmap::shortest(std::string_view text) const {
  return match(text, [](const Match&) { return true; });
}

}  // namespace millrace
