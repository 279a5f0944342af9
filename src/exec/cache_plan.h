#pragma once

#include <cstdint>
#include <vector>

#include "core/kv_spec.h"
#include "kernels/attention_pattern.h"
#include "kvstore/kv_store.h"
#include "models/spec.h"

namespace millrace {

// How a model's cache is divided: bodies that keep tokens and read them by one pattern share a
// group, and all states of a sequence are one unit of another.
struct CachePlan {
  std::vector<KvGroup> groups;               // whoever has the memory sets their units
  std::vector<ops::CausalPattern> patterns;  // [groups], of those of tokens
  std::vector<KvPart> parts;
  std::vector<int32_t> part_of_body;  // [bodies], that it reads; -1: none
};

CachePlan plan_cache(const ModelSpec& spec, DType cache, int32_t block_tokens);

}  // namespace millrace
