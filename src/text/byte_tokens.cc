#include "text/byte_tokens.h"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace millrace {

int ByteTokens::byte_of(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return -1;
  int byte = -1;
  const char* const end = text.data() + 5;
  const auto [stopped, error] = std::from_chars(text.data() + 3, end, byte, 16);
  return error == std::errc() && stopped == end && byte >= 0 ? byte : -1;
}

bool ByteTokens::append(std::string_view bytes, std::vector<TokenId>& tokens) const {
  const auto id_of = [this](char byte) { return ids_[static_cast<uint8_t>(byte)]; };
  if (!std::ranges::all_of(bytes, [&](char byte) { return id_of(byte) != kNoToken; })) return false;
  std::ranges::transform(bytes, std::back_inserter(tokens), id_of);
  return true;
}

bool ByteTokens::complete() const { return std::ranges::find(ids_, kNoToken) == ids_.end(); }

}  // namespace millrace
