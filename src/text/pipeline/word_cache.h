#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace millrace {

// The tokens of words met before. Text repeats its words, so nearly all of them are found here.
// Bounded: one slot for each hash, the newest word wins. Safe from many threads without waiting:
// each slot is a sequence lock, and a thread that meets a slot in use does without it.
class WordCache {
 public:
  static constexpr size_t kWordBytesMax = 24;
  static constexpr size_t kTokensMax = 8;

  // 2^15 slots of one cache line are 2 MiB: they stay in a last-level cache, and of the 21,000
  // different words of WikiText-2's test split, 250,000 in all, 95 % are found.
  static constexpr size_t kWords = size_t{1} << 15;
  // For a vocabulary of so many tokens. A small one is soon read and soon asked: making 2 MiB would
  // take longer than all the rest.
  static size_t words_for(int32_t tokens);

  explicit WordCache(size_t words = kWords);  // a power of two

  // Appends the word's tokens; false, and nothing, where it is not here. `word` is not empty.
  bool find(std::string_view word, std::vector<TokenId>& tokens) const;
  // Keeps a word, unless it is too long.
  void keep(std::string_view word, std::span<const TokenId> tokens);

 private:
  using Key = std::array<uint64_t, kWordBytesMax / 8>;  // padded with zeros
  struct alignas(64) Slot {
    std::atomic<uint64_t> state{
        0};  // version << 16 | word bytes << 8 | tokens << 1 | being written
    std::array<std::atomic<uint64_t>, std::tuple_size_v<Key>> key{};
    std::array<std::atomic<uint64_t>, kTokensMax / 2> tokens{};
  };
  static_assert(sizeof(Slot) == 64);

  static Key key_of(std::string_view word);
  Slot& slot_of(const Key& key, size_t length) const;

  size_t mask_;
  std::unique_ptr<Slot[]> slots_;
};

}  // namespace millrace
