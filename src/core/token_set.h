#pragma once

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "core/shared_list.h"

namespace millrace {

// Token ids in ascending order, each once. Constant; copies share them.
class TokenSet {
 public:
  TokenSet() = default;
  TokenSet(std::vector<TokenId> ids) : ids_(in_order(std::move(ids))) {}
  TokenSet(std::initializer_list<TokenId> ids) : TokenSet(std::vector<TokenId>(ids)) {}

  bool contains(TokenId token) const { return std::binary_search(begin(), end(), token); }
  const TokenId* begin() const { return ids_.begin(); }
  const TokenId* end() const { return ids_.end(); }
  size_t size() const { return ids_.size(); }
  bool empty() const { return ids_.empty(); }
  TokenId largest() const { return ids_.back(); }
  friend bool operator==(const TokenSet&, const TokenSet&) = default;

 private:
  static std::vector<TokenId> in_order(std::vector<TokenId> ids) {
    std::ranges::sort(ids);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  }

  SharedList<TokenId> ids_;
};

}  // namespace millrace
