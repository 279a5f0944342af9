#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <utility>

#include <fmt/format.h>

namespace millrace {

// An integer that names one kind of thing and mixes with no other. `Id{}` is the invalid id.
template <typename Tag, typename Rep>
struct Id {
  Rep value = -1;

  constexpr bool valid() const { return value >= 0; }
  friend constexpr auto operator<=>(Id, Id) = default;
  template <typename H>
  friend H AbslHashValue(H h, Id id) {
    return H::combine(std::move(h), id.value);
  }
};

using RequestId = Id<struct RequestTag, int64_t>;  // one submitted request
using SeqId = Id<struct SequenceTag, int64_t>;     // one sequence: one of a request's n choices
using BlockId = Id<struct BlockTag, int32_t>;      // one KV block of one group

// Token ids index rows of embeddings, logits and vocabularies all day long, so they stay plain.
using TokenId = int32_t;

}  // namespace millrace

template <typename Tag, typename Rep>
struct fmt::formatter<millrace::Id<Tag, Rep>> : fmt::formatter<Rep> {
  auto format(millrace::Id<Tag, Rep> id, fmt::format_context& context) const {
    return fmt::formatter<Rep>::format(id.value, context);
  }
};
