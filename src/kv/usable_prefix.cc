#include "kv/usable_prefix.h"

#include <algorithm>

#include <absl/container/inlined_vector.h>

namespace millrace {
namespace {

// What the nodes down a path have, group by group.
class PathUnits {
 public:
  PathUnits(const PrefixTree& tree, std::span<const KvGroup> groups)
      : tree_(tree), groups_(groups), gaps_(groups.size(), 0) {}

  // `node` follows, and `end` tokens end with it.
  void add(NodeId node, int64_t end) {
    for (size_t group = 0; group < gaps_.size(); ++group) {
      if (!tree_.unit(node, static_cast<int32_t>(group)).valid()) gaps_[group] = end;
    }
  }

  // Whether a sequence can begin with the first `end` tokens, of which it computes the rows from
  // `position` on again. Those would need more of a window than what follows does, and another
  // state.
  bool serve(int64_t position, int64_t end) const {
    for (size_t group = 0; group < gaps_.size(); ++group) {
      const bool is_state = groups_[group].kind == KvKind::kState;
      const int64_t from = is_state ? end - 1 : reads_from(groups_[group], end);
      if (gaps_[group] > from || (!groups_[group].is_whole() && position < end)) return false;
    }
    return true;
  }

 private:
  const PrefixTree& tree_;
  std::span<const KvGroup> groups_;
  absl::InlinedVector<int64_t, 6> gaps_;  // [groups] where the last node without a unit ends
};

}  // namespace

int64_t reads_from(const KvGroup& group, int64_t position) {
  return group.window == 0 ? 0 : std::max<int64_t>(position - group.window + 1, 0);
}

std::span<const TokenId> tokens_from(const Sequence& sequence, int64_t begin, int64_t size) {
  return std::span(sequence.tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(size));
}

UsablePrefix find_usable_prefix(const PrefixTree& tree, std::span<const KvGroup> groups,
                                const Sequence& sequence) {
  const int64_t block_tokens = block_tokens_of(groups);
  PathUnits units(tree, groups);
  UsablePrefix best;
  NodeId node;
  for (int64_t end = block_tokens; end <= sequence.known(); end += block_tokens) {
    const auto tokens = tokens_from(sequence, end - block_tokens, block_tokens);
    const auto match = tree.best_child(node, sequence.request->cache_salt, tokens);
    if (match.tokens < block_tokens) break;
    node = match.node;
    units.add(node, end);
    const int64_t skippable = std::min(end, sequence.skippable());
    if (units.serve(skippable, end)) best = {node, end, skippable};
  }
  return best;
}

}  // namespace millrace
