#pragma once

#include <vector>

#include "decode/drafting/drafting.h"
#include "decode/history.h"
#include "decode/strategy.h"
#include "text/tokenizer.h"

namespace millrace {

// Tokens drawn one after the other: from the last known token's row, and then from the rows of a
// draft for as long as it holds what was drawn. Each row is drawn with its own history and random
// key, so the tokens are those of plain decoding whatever drafted them.
class Sampling final : public Strategy {
 public:
  Sampling(const Tokenizer& tokenizer, Drafting drafting)
      : vocab_(tokenizer.vocab()), histories_(tokenizer), drafting_(std::move(drafting)) {}

  void propose(Flight& flight) override { drafting_.propose(flight.plan); }
  void choose(Flight& flight) override;
  void accept(Flight& flight) override;
  void forget(const Sequence& sequence) override;

 private:
  void choose_for(int32_t slice, int32_t want, Flight& flight);
  void score(int32_t want, int64_t position, const Sequence& sequence, DrawOrders& orders) const;
  void draw(int32_t want, const Sequence& sequence, DrawOrders& orders);
  void accept_draw(int32_t draw, Flight& flight);
  void commit(int32_t draw, Outcome& outcome, Flight& flight);

  const Vocab& vocab_;
  Histories histories_;
  Drafting drafting_;
  std::vector<TokenId> ahead_;  // of the row that is being chosen for: its draft's tokens
};

}  // namespace millrace
