#include "base/checksum.h"

#include <array>
#include <cstring>

namespace millrace {
namespace {

// Each step is a bijection of what was summed before and of the word, because the factor is odd;
// eight sums side by side hide the latency of a multiplication. The factor is 2^64 divided by the
// golden ratio, whose bits are spread evenly.
constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
using Sums = std::array<uint64_t, 8>;

void add(Sums& sums, const std::byte* line) {
  Sums words;
  std::memcpy(words.data(), line, sizeof words);
  for (size_t i = 0; i < sums.size(); ++i) {
    const uint64_t mixed = (sums[i] ^ words[i]) * kFactor;
    sums[i] = mixed ^ mixed >> 32;
  }
}

}  // namespace

uint64_t checksum(std::span<const std::byte> bytes) {
  Sums sums = {1, 2, 3, 4, 5, 6, 7, 8};
  size_t at = 0;
  for (; at + sizeof(Sums) <= bytes.size(); at += sizeof(Sums)) add(sums, bytes.data() + at);
  std::array<std::byte, sizeof(Sums)> last = {};
  if (at < bytes.size()) std::memcpy(last.data(), bytes.data() + at, bytes.size() - at);
  add(sums, last.data());
  uint64_t all = bytes.size();
  for (const uint64_t sum : sums) {
    const uint64_t mixed = (all ^ sum) * kFactor;
    all = mixed ^ mixed >> 29;
  }
  return all;
}

}  // namespace millrace
