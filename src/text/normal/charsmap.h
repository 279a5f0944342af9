#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace {

// SentencePiece's `precompiled_charsmap`: what beginnings of a text are replaced with. A double
// array of byte strings (Yata et al., 2007, as Darts-clone stores it) whose values are offsets into
// zero-terminated replacements. Files are not trusted: an offset that leads nowhere matches
// nothing.
class Charsmap {
 public:
  static absl::StatusOr<Charsmap> from(std::string_view blob);

  struct Match {
    size_t bytes = 0;  // 0: nothing matches
    std::string_view replacement;
  };
  Match longest(std::string_view text) const;
  Match shortest(std::string_view text) const;
  size_t replacement_bytes_max() const { return replacement_bytes_max_; }

 private:
  Charsmap() = default;
  // Looks at the matches from the shortest on; the first that `take` wants is the last.
  template <typename Take>
  Match match(std::string_view text, const Take& take) const;

  std::vector<uint32_t> units_;
  std::string replacements_;  // each ends with 0
  size_t replacement_bytes_max_ = 0;
};

}  // namespace millrace
