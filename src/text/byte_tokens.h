#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace millrace {

// The tokens <0x00> to <0xFF>, which spell what a vocabulary has no piece for.
class ByteTokens {
 public:
  ByteTokens() { ids_.fill(kNoToken); }

  // Of `<0xNN>`; -1 for any other text.
  static int byte_of(std::string_view text);

  void set(int byte, TokenId id) { ids_[static_cast<size_t>(byte)] = id; }
  // Appends a token for each byte; false, and nothing, where one has none.
  bool append(std::string_view bytes, std::vector<TokenId>& tokens) const;
  bool complete() const;

 private:
  static constexpr TokenId kNoToken = -1;
  std::array<TokenId, 256> ids_;
};

}  // namespace millrace
