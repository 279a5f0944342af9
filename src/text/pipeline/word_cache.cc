#include "text/pipeline/word_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace millrace {
namespace {

constexpr uint64_t kBeingWritten = 1;

uint64_t tokens_in(uint64_t state) { return state >> 1 & 0x7F; }
uint64_t bytes_in(uint64_t state) { return state >> 8 & 0xFF; }

}  // namespace

size_t WordCache::words_for(int32_t tokens) {
  return std::min(kWords, std::bit_ceil(static_cast<size_t>(tokens)));
}

WordCache::WordCache(size_t words) : mask_(words - 1), slots_(std::make_unique<Slot[]>(words)) {
  CHECK(std::has_single_bit(words), "a cache of {} words", words);
}

WordCache::Key WordCache::key_of(std::string_view word) {
  Key key{};
  std::memcpy(key.data(), word.data(), word.size());
  return key;
}

WordCache::Slot& WordCache::slot_of(const Key& key, size_t length) const {
  // Odd multipliers from the golden ratio and the square roots of 2 and 3, as in Knuth, "The Art of
  // Computer Programming", volume 3, section 6.4 (multiplicative hashing).
  uint64_t hash = (key[0] + length) * 0x9E3779B97F4A7C15;
  hash ^= (hash >> 32) + key[1] * 0x6A09E667F3BCC909 + key[2] * 0xBB67AE8584CAA73B;
  hash *= 0x9E3779B97F4A7C15;
  return slots_[hash >> 32 & mask_];
}

bool WordCache::find(std::string_view word, std::vector<TokenId>& tokens) const {
  if (word.size() > kWordBytesMax) return false;
  const Key key = key_of(word);
  const Slot& slot = slot_of(key, word.size());
  const uint64_t state = slot.state.load(std::memory_order_acquire);
  if ((state & kBeingWritten) != 0 || bytes_in(state) != word.size()) return false;
  uint64_t differs = 0;
  for (size_t i = 0; i < key.size(); ++i) {
    differs |= key[i] ^ slot.key[i].load(std::memory_order_relaxed);
  }
  if (differs != 0) return false;
  std::array<uint64_t, kTokensMax / 2> packed;
  for (size_t i = 0; i < packed.size(); ++i) {
    packed[i] = slot.tokens[i].load(std::memory_order_relaxed);
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  if (slot.state.load(std::memory_order_relaxed) != state) return false;
  for (uint64_t i = 0; i < tokens_in(state); ++i) {
    tokens.push_back(static_cast<TokenId>(packed[i / 2] >> (i % 2 * 32)));
  }
  return true;
}

void WordCache::keep(std::string_view word, std::span<const TokenId> tokens) {
  if (word.size() > kWordBytesMax || tokens.size() > kTokensMax) return;
  const Key key = key_of(word);
  Slot& slot = slot_of(key, word.size());
  uint64_t state = slot.state.load(std::memory_order_relaxed);
  if ((state & kBeingWritten) != 0 ||
      !slot.state.compare_exchange_strong(state, state | kBeingWritten,
                                          std::memory_order_acquire)) {
    return;
  }
  // Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012, section 4.
  std::atomic_thread_fence(std::memory_order_release);
  for (size_t i = 0; i < key.size(); ++i) slot.key[i].store(key[i], std::memory_order_relaxed);
  std::array<uint64_t, kTokensMax / 2> packed{};
  for (size_t i = 0; i < tokens.size(); ++i) {
    packed[i / 2] |= uint64_t{static_cast<uint32_t>(tokens[i])} << (i % 2 * 32);
  }
  for (size_t i = 0; i < packed.size(); ++i) {
    slot.tokens[i].store(packed[i], std::memory_order_relaxed);
  }
  const uint64_t version = (state >> 16) + 1;
  slot.state.store(version << 16 | word.size() << 8 | tokens.size() << 1,
                   std::memory_order_release);
}

}  // namespace millrace
