#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// Half-open range of bytes.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

// A rendered prompt that remembers which of its bytes come from a client, not from the template. In
// those, the spelling of a special token is only text.
struct MarkedText {
  std::string text;
  std::vector<ByteRange> written;  // ascending, disjoint, none empty

  bool check_integrity() const {
    size_t before = 0;
    for (const ByteRange& range : written) {
      if (range.begin < before || range.end <= range.begin) return false;
      before = range.end;
    }
    return before <= text.size();
  }
};

// A view of the same, or of a part of it.
struct MarkedView {
  std::string_view text;
  std::span<const ByteRange> written;  // those beyond the text do not count
  size_t origin = 0;                   // where the text begins in what `written` speaks of

  MarkedView part(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), written, origin + begin};
  }
  // Bytes from `begin` on that come from no client.
  size_t unwritten_from(size_t begin) const {
    const size_t at = origin + begin;
    const auto next = std::ranges::upper_bound(written, at, {}, &ByteRange::end);
    const size_t left = text.size() - begin;
    if (next == written.end()) return left;
    return next->begin > at ? std::min(left, next->begin - at) : 0;
  }
  MarkedText copy() const {
    MarkedText copied{std::string(text), {}};
    const size_t end = origin + text.size();
    auto range = std::ranges::upper_bound(written, origin, {}, &ByteRange::end);
    for (; range != written.end() && range->begin < end; ++range) {
      const size_t from = std::max(range->begin, origin);
      copied.written.push_back({from - origin, std::min(range->end, end) - origin});
    }
    return copied;
  }
};

}  // namespace millrace
