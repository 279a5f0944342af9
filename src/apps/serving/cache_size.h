#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "core/kv_spec.h"

namespace millrace {

// What the cache is to hold, and in how much memory.
struct CacheOrder {
  int64_t sequences = 1;  // at once
  int64_t context = 0;    // tokens of the longest sequence
  int64_t rows = 1;       // of a step
  bool prefix_caching = true;
  int64_t bytes = 0;       // in all
  bool all_of_it = false;  // also what the sequences at their longest leave
};

struct CacheSize {
  std::vector<int64_t> units;  // [groups]
  bool limited = false;        // not every sequence at its longest fits
  int64_t bytes = 0;           // of all units
};

// Divides memory among the groups of a cache. States come first: one of each sequence, in half of
// the memory where there are groups of tokens, too; and for prompts that begin alike twice as many
// and 16, in an eighth of it. Then each group of tokens gets the same number of blocks, but none
// more than all sequences at their longest can hold; behind a window that is the window, a step and
// a block. Of what is left the windows get up to as much again for prompts that begin alike, and
// then, with all_of_it, the groups without a window the rest. RESOURCE_EXHAUSTED where a group gets
// nothing, INVALID_ARGUMENT where its units have no number; `memory` is how errors call the bytes.
absl::StatusOr<CacheSize> divide_cache(std::span<const KvGroup> groups, const CacheOrder& order,
                                       const std::string& memory);

// The caches of two models that run the same sequences, in `order.bytes` together. Where both hold
// every sequence at its longest, the second has no more than that; otherwise they share as one
// sequence takes of each, so that they hold about as many tokens. Errors as above.
struct CacheSizes {
  CacheSize first, second;
};
absl::StatusOr<CacheSizes> divide_caches(std::span<const KvGroup> first,
                                         std::span<const KvGroup> second, const CacheOrder& order,
                                         const std::string& memory);

// "all tokens", "window 4,096", "states": what a group keeps, for people.
std::string group_name(const KvGroup& group);

}  // namespace millrace
