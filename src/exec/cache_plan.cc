#include "exec/cache_plan.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {
namespace {

constexpr int64_t kStateAlignment = 64;

// The group of a body that keeps something, new or not.
size_t group_of(const KvSpec& kept, int32_t block_tokens, CachePlan& plan) {
  const KvKind kind = kept.sequence_bytes > 0 ? KvKind::kState : KvKind::kTokens;
  const size_t count = plan.groups.size();
  for (size_t i = 0; i < count; ++i) {
    if (plan.groups[i].kind != kind) continue;
    if (kind == KvKind::kState || plan.patterns[i] == kept.pattern) return i;
  }
  const auto& [window, chunk] = kept.pattern;
  plan.groups.push_back({.kind = kind, .block_tokens = block_tokens, .window = 0});
  plan.patterns.push_back(kept.pattern);
  // A chunk's last row reads as far back as a window of the same length.
  if (window > 0 && chunk > 0) plan.groups[count].window = std::min(window, chunk);
  if (window == 0 || chunk == 0) plan.groups[count].window = std::max(window, chunk);
  return count;
}

}  // namespace

CachePlan plan_cache(const ModelSpec& spec, DType cache, int32_t block_tokens) {
  CachePlan plan;
  std::vector<KvSpec> bodies;
  for_each_body(spec.layers, [&](const BodySpec& body) {
    const KvSpec kept = kv_spec(body, cache);
    bodies.push_back(kept);
    if (kept.shared >= 0) {
      CHECK(kept.shared + 1 < std::ssize(bodies), "a body shares what body {} keeps", kept.shared);
      const KvSpec& other = bodies[static_cast<size_t>(kept.shared)];
      CHECK(other.shared < 0 && other.token_bytes > 0 && other.token_bytes == kept.token_bytes &&
                other.pattern == kept.pattern,
            "a body cannot read what body {} keeps", kept.shared);
      plan.part_of_body.push_back(plan.part_of_body[static_cast<size_t>(kept.shared)]);
      return;
    }
    if (kept.token_bytes == 0 && kept.sequence_bytes == 0) {
      plan.part_of_body.push_back(-1);
      return;
    }
    CHECK(kept.token_bytes == 0 || kept.sequence_bytes == 0, "a body keeps tokens and a state");
    CHECK(kept.sequence_bytes % kStateAlignment == 0, "a state of {} bytes", kept.sequence_bytes);
    const size_t group = group_of(kept, block_tokens, plan);
    const int64_t bytes =
        kept.sequence_bytes > 0 ? kept.sequence_bytes : kept.token_bytes * block_tokens;
    plan.groups[group].unit_bytes += bytes;
    plan.part_of_body.push_back(static_cast<int32_t>(plan.parts.size()));
    plan.parts.push_back({.group = static_cast<int32_t>(group), .unit_bytes = bytes});
  });
  return plan;
}

}  // namespace millrace
