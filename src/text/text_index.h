#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <absl/hash/hash.h>

#include "base/status.h"

namespace millrace {

// Finds texts that lie elsewhere, by their bytes. It holds of each its number and some of its hash
// side by side, a third of what a map from texts takes, so that looking for hundreds of thousands
// stays within a CPU's caches.
class TextIndex {
 public:
  TextIndex() : TextIndex(0) {}
  // For so many texts at most.
  explicit TextIndex(size_t texts)
      : slots_(std::bit_ceil(texts + texts / 2 + 2)), mask_(slots_.size() - 1) {}

  // Asks memory for what find() will need of this text.
  void prefetch(std::string_view text) const { __builtin_prefetch(&slots_[hash_of(text) & mask_]); }

  // text_of(number): the text that was inserted with it.
  template <typename TextOf>
  std::optional<int32_t> find(std::string_view text, const TextOf& text_of) const {
    const Slot& slot = slots_[place_of(text, text_of)];
    return slot.number < 0 ? std::nullopt : std::optional(slot.number);
  }

  // The number with which this text is in the index, which is another one if it was there before.
  // number: not negative.
  template <typename TextOf>
  int32_t insert(std::string_view text, int32_t number, const TextOf& text_of) {
    Slot& slot = slots_[place_of(text, text_of)];
    if (slot.number < 0) slot = {hash_of(text), number};
    return slot.number;
  }

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t number = -1;
  };

  static uint32_t hash_of(std::string_view text) {
    return static_cast<uint32_t>(absl::HashOf(to_absl(text)) >> 16);
  }

  // Where the text is, or would be: at most two thirds of the slots are taken.
  template <typename TextOf>
  size_t place_of(std::string_view text, const TextOf& text_of) const {
    const uint32_t hash = hash_of(text);
    size_t place = hash & mask_;
    while (slots_[place].number >= 0 &&
           (slots_[place].hash != hash || text_of(slots_[place].number) != text)) {
      place = (place + 1) & mask_;
    }
    return place;
  }

  std::vector<Slot> slots_;
  size_t mask_;
};

}  // namespace millrace
