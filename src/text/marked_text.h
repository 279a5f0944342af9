#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace millrace {

// Half-open range of bytes.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

// A rendered prompt that remembers which bytes somebody wrote. In those, the spelling of a special
// token is only text.
struct MarkedText {
  std::string text;
  std::vector<ByteRange> written;  // ascending, disjoint, none empty
};

}  // namespace millrace
