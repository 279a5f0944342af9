#include "apps/serving/cache_size.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "apps/terminal/amounts.h"
#include "base/checked.h"

namespace millrace {
namespace {

// Units of a group that all sequences hold at their longest; those that are beyond all memory count
// as many.
int64_t units_of_all(const KvGroup& group, const CacheOrder& order) {
  const int64_t of_one = blocks_per_sequence(group, order.rows, order.context);
  return checked_multiply(of_one, order.sequences).value_or(std::numeric_limits<int64_t>::max());
}

// The bytes of `blocks` blocks in each group of tokens, cut to its `most`.
double bytes_of_tokens(std::span<const KvGroup> groups, std::span<const int64_t> most,
                       int64_t blocks) {
  double bytes = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].kind != KvKind::kTokens) continue;
    bytes +=
        static_cast<double>(std::min(most[i], blocks)) * static_cast<double>(groups[i].unit_bytes);
  }
  return bytes;
}

class Division {
 public:
  Division(std::span<const KvGroup> groups, const CacheOrder& order)
      : groups_(groups), order_(order), left_(order.bytes) {
    for (const KvGroup& group : groups) most_.push_back(units_of_all(group, order));
    size_.units.resize(groups.size());
  }

  CacheSize divide() {
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].kind == KvKind::kState) give_states(i);
    }
    give_blocks();
    if (size_.limited) return std::move(size_);
    if (order_.prefix_caching) {
      give_more([](const KvGroup& group) { return group.window > 0; }, true);
    }
    if (order_.all_of_it) {
      give_more([](const KvGroup& group) { return group.window == 0; }, false);
    }
    return std::move(size_);
  }

 private:
  void take(size_t i, int64_t units) {
    size_.units[i] += units;
    size_.bytes += units * groups_[i].unit_bytes;
    left_ -= units * groups_[i].unit_bytes;
  }

  void give_states(size_t i) {
    const int64_t unit = groups_[i].unit_bytes;
    const bool alone = groups_.size() == 1;
    const int64_t held = std::min(order_.sequences, left_ / (alone ? 1 : 2) / unit);
    size_.limited |= held < order_.sequences;
    const int64_t kept = order_.prefix_caching ? 2 * order_.sequences + 16 : 0;
    take(i, held);
    take(i, std::min({kept, order_.bytes / 8 / unit, left_ / unit}));
  }

  void give_blocks() {
    int64_t low = 0;
    int64_t high = 0;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].kind == KvKind::kTokens) high = std::max(high, most_[i]);
    }
    const auto left = static_cast<double>(left_);
    if (bytes_of_tokens(groups_, most_, high) <= left) {
      low = high;
    } else {
      size_.limited = true;
    }
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (bytes_of_tokens(groups_, most_, middle) <= left ? low : high) = middle;
    }
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].kind == KvKind::kTokens) take(i, std::min(most_[i], low));
    }
  }

  // Divides what is left among some groups in the proportion of what they have.
  template <typename Chosen>
  void give_more(Chosen chosen, bool at_most_again) {
    double have = 0;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (is_of_tokens(i, chosen))
        have += static_cast<double>(size_.units[i] * groups_[i].unit_bytes);
    }
    if (have <= 0) return;
    const double share = static_cast<double>(left_) / have;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (!is_of_tokens(i, chosen)) continue;
      const double part = at_most_again ? std::min(1.0, share) : share;
      const auto more = static_cast<int64_t>(part * static_cast<double>(size_.units[i]));
      take(i, std::min(more, left_ / groups_[i].unit_bytes));
    }
  }
  template <typename Chosen>
  bool is_of_tokens(size_t i, Chosen chosen) const {
    return groups_[i].kind == KvKind::kTokens && chosen(groups_[i]);
  }

  std::span<const KvGroup> groups_;
  const CacheOrder& order_;
  std::vector<int64_t> most_;  // [groups]
  int64_t left_;
  CacheSize size_;
};

double bytes_of_sequence(std::span<const KvGroup> groups, const CacheOrder& order) {
  double bytes = 0;
  for (const KvGroup& group : groups) {
    bytes += static_cast<double>(blocks_per_sequence(group, order.rows, order.context)) *
             static_cast<double>(group.unit_bytes);
  }
  return bytes;
}

}  // namespace

std::string group_name(const KvGroup& group) {
  if (group.kind == KvKind::kState) return "states";
  if (group.window == 0) return "all tokens";
  return "window " + grouped(group.window);
}

absl::StatusOr<CacheSize> divide_cache(std::span<const KvGroup> groups, const CacheOrder& order,
                                       const std::string& memory) {
  CacheSize size = Division(groups, order).divide();
  for (size_t i = 0; i < groups.size(); ++i) {
    const KvGroup& group = groups[i];
    const bool is_state = group.kind == KvKind::kState;
    if (size.units[i] < 1) {
      return resource_exhausted("no memory for a cache: {} hold no {} of {} ({})", memory,
                                is_state ? "state" : "block", bytes_text(group.unit_bytes),
                                group_name(group));
    }
    if (size.units[i] > std::numeric_limits<int32_t>::max()) {
      return invalid_argument("a cache of {} {}: at most {} have a number", size.units[i],
                              is_state ? "states" : "blocks", std::numeric_limits<int32_t>::max());
    }
  }
  return size;
}

absl::StatusOr<CacheSizes> divide_caches(std::span<const KvGroup> first,
                                         std::span<const KvGroup> second, const CacheOrder& order,
                                         const std::string& memory) {
  CacheOrder needed = order;
  needed.all_of_it = false;
  const CacheSize first_alone = Division(first, needed).divide();
  const CacheSize second_alone = Division(second, needed).divide();
  const bool both_fit = !first_alone.limited && !second_alone.limited &&
                        first_alone.bytes <= order.bytes - second_alone.bytes;
  const double first_sequence = bytes_of_sequence(first, order);
  const double second_sequence = bytes_of_sequence(second, order);
  const double share = second_sequence / (first_sequence + second_sequence);
  needed.bytes = both_fit ? second_alone.bytes
                          : static_cast<int64_t>(share * static_cast<double>(order.bytes));
  CacheSizes sizes;
  ASSIGN_OR_RETURN(sizes.second, divide_cache(second, needed, memory));
  CacheOrder rest = order;
  rest.bytes -= sizes.second.bytes;
  ASSIGN_OR_RETURN(sizes.first, divide_cache(first, rest, memory));
  return sizes;
}

}  // namespace millrace
