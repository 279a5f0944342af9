#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "core/draft.h"
#include "core/sequence.h"

namespace millrace {

// A sequence that could use a draft in this step.
struct DraftSlot {
  const Sequence* sequence = nullptr;
  int32_t nodes_max = 0;              // at least 1
  int32_t depth_max = 0;              // of the longest path; at least 1
  std::vector<DraftNode> nodes = {};  // what was proposed: empty on entry
};

// A way to guess what sequences will say next. Guesses are verified, so they cost time when they
// are wrong and change no answer.
class Proposer {
 public:
  virtual ~Proposer() = default;
  // What requests and options call it.
  virtual std::string_view method() const = 0;
  // Fills `nodes` of the slots for which it has a guess, the likeliest first.
  virtual void propose(std::span<DraftSlot> slots) = 0;
  // The sequence has left.
  virtual void forget(SeqId sequence) = 0;
};

using Proposers = std::vector<std::unique_ptr<Proposer>>;

}  // namespace millrace
