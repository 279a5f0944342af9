#include "decode/propose/ngram.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {
namespace {

// Of a run that is read from its end to its beginning, so that longer runs go on from shorter.
uint64_t extend(uint64_t hash, TokenId token) {
  // Multiplication by an odd constant and a fold of the high half (as in splitmix64).
  hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15;
  return hash ^ (hash >> 29);
}

}  // namespace

NgramIndex::NgramIndex(const NgramOptions& options) : options_(options) {
  CHECK(options.match_min >= 1 && options.match_min <= options.match_max);
  ends_.resize(static_cast<size_t>(options.match_max - options.match_min + 1));
}

void NgramIndex::grow(std::span<const TokenId> tokens) {
  CHECK(indexed_ <= std::ssize(tokens), "a sequence that lost tokens");
  while (indexed_ < std::ssize(tokens)) {
    add(tokens.first(static_cast<size_t>(++indexed_)));
  }
}

// The last of the tokens ends a run of each length.
void NgramIndex::add(std::span<const TokenId> tokens) {
  continuation_ = -1;
  uint64_t hash = 0;
  const auto longest = std::min<int64_t>(options_.match_max, std::ssize(tokens));
  for (int64_t length = 1; length <= longest; ++length) {
    hash = extend(hash, tokens[tokens.size() - static_cast<size_t>(length)]);
    if (length < options_.match_min) continue;
    const auto [found, fresh] =
        ends_[static_cast<size_t>(length - options_.match_min)].try_emplace(hash, indexed_);
    if (fresh) continue;
    const int64_t before = found->second;
    found->second = indexed_;
    const auto run = tokens.last(static_cast<size_t>(length));
    const auto earlier =
        tokens.subspan(static_cast<size_t>(before - length), static_cast<size_t>(length));
    if (!std::ranges::equal(run, earlier)) continue;
    continuation_ = before;
    matched_ = static_cast<int32_t>(length);
  }
}

void NgramProposer::propose(std::span<DraftSlot> slots) {
  int64_t left = kTokensReadPerStep;
  for (DraftSlot& slot : slots) {
    const std::vector<TokenId>& tokens = slot.sequence->tokens;
    std::unique_ptr<NgramIndex>& index = indices_[slot.sequence->id];
    if (!index) index = std::make_unique<NgramIndex>(options_);
    const int64_t read = std::min(std::ssize(tokens) - index->indexed(), left);
    left -= read;
    index->grow(std::span(tokens).first(static_cast<size_t>(index->indexed() + read)));
    if (index->indexed() < std::ssize(tokens)) continue;
    const int64_t from = index->continuation();
    if (from < 0) continue;
    const int32_t length = std::min(slot.nodes_max, slot.depth_max);
    slot.matched = index->matched();
    for (int32_t i = 0; i < length; ++i) {
      // What repeats itself goes on in its own guess.
      const auto at = static_cast<size_t>(from + i);
      const TokenId token = at < tokens.size() ? tokens[at] : slot.nodes[at - tokens.size()].token;
      slot.add(token, i - 1, 1);
    }
  }
}

}  // namespace millrace
