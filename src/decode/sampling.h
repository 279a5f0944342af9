#pragma once

#include <memory>
#include <optional>

#include <absl/container/flat_hash_map.h>

#include "decode/penalties.h"
#include "decode/strategy.h"
#include "text/stream.h"
#include "text/tokenizer.h"

namespace millrace {

// One token at a time, drawn from the last known token's row.
class Sampling final : public Strategy {
 public:
  explicit Sampling(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void choose(Flight& flight) override;
  void accept(Flight& flight) override;
  void forget(SeqId sequence) override { memories_.erase(sequence); }

 private:
  // What all choices of a request read, made once.
  struct Common {
    std::vector<uint32_t> mask;            // where not every token is allowed
    std::optional<TextStream> text_begin;  // where there are stop strings
  };
  // What is remembered of a sequence besides its tokens.
  struct Memory {
    std::shared_ptr<const Common> common;
    std::optional<TokenCounts> counts;
    std::optional<TextStream> text;
  };

  void choose_for(int32_t slice, int32_t want, int64_t position, Flight& flight);
  void score(int32_t want, int64_t position, const Sequence& sequence, DrawOrders& orders) const;
  void draw(int32_t want, const Sequence& sequence, DrawOrders& orders);
  void accept_draw(int32_t draw, Flight& flight);
  void commit(int32_t draw, Outcome& outcome, Flight& flight);
  // Null where nothing need be remembered.
  Memory* memory_of(const Sequence& sequence);
  std::shared_ptr<const Common> common_of(const Sequence& sequence) const;

  const Tokenizer& tokenizer_;
  absl::flat_hash_map<SeqId, std::unique_ptr<Memory>> memories_;
};

}  // namespace millrace
