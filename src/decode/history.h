#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "core/draw_order.h"
#include "core/sequence.h"
#include "decode/penalties.h"
#include "text/stream.h"
#include "text/tokenizer.h"

namespace millrace {

// What a sequence has said, as far as its request asks for it: how often each token came, and the
// text in which stop strings are looked for. What a draft would add is passed in, so that a tree is
// tried ahead without a copy.
class History {
 public:
  // What all choices of a request read, made once.
  struct Rules {
    Rules(const Request& request, const Tokenizer& tokenizer);

    const Vocab& vocab;
    std::vector<uint32_t> mask;            // where not every token is allowed
    std::optional<TextStream> text_begin;  // where there are stop strings
  };

  History(std::shared_ptr<const Rules> rules, const Request& request);

  // Adds to `order` what the request and all that was said make of the draw after `ahead`, tokens
  // of a draft that follow what the sequence knows.
  void contribute(const Sequence& sequence, std::span<const TokenId> ahead, DrawOrder& order,
                  DrawOrders& orders) const;
  // A token became known. Returns the index of the stop string that it completed; -1: none.
  int32_t advance(TokenId token);

  const std::shared_ptr<const Rules>& rules() const { return rules_; }

 private:
  std::shared_ptr<const Rules> rules_;
  std::optional<TokenCounts> counts_;  // where a penalty looks at them
  std::optional<TextStream> text_;
};

// Of all sequences that have said something, or draw their first token.
class Histories {
 public:
  explicit Histories(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  History& of(const Sequence& sequence);
  void forget(SeqId sequence) { all_.erase(sequence); }

 private:
  std::shared_ptr<const History::Rules> rules_of(const Sequence& sequence) const;

  const Tokenizer& tokenizer_;
  absl::flat_hash_map<SeqId, std::unique_ptr<History>> all_;
};

}  // namespace millrace
