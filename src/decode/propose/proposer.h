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

// Of every draft.
struct DraftingOptions {
  int32_t depth_max = 0;  // tokens that a sequence may be ahead of what it knows
  int32_t nodes_max = 0;
  bool automatic = false;    // requests that name no method get drafts only where these pay
  bool chains_only = false;  // of a tree only one path can be used
};

// Tokens that a method without a model takes in at most in one step, of all its sequences, so that
// a long prompt, or many choices of one, hold no step up. A sequence is not drafted for before all
// of its tokens were.
inline constexpr int64_t kTokensReadPerStep = 4096;

// A sequence that could use a draft in this step.
struct DraftSlot {
  const Sequence* sequence = nullptr;
  int32_t nodes_max = 0;              // at least 1
  int32_t depth_max = 0;              // of the longest path; at least 1
  double survival_min = 0;            // what follows a path that is less likely does not pay
  int32_t matched = 0;                // proposed after a run of so many tokens that came before; 0:
                                      // by other means
  std::vector<DraftNode> nodes = {};  // what was proposed: empty on entry
  std::vector<float> chances = {};  // [nodes] how likely, in the proposer's own account, the token
                                    // comes where its parent's did

  void add(TokenId token, int32_t parent, float chance) {
    nodes.push_back({.token = token, .parent = parent});
    chances.push_back(chance);
  }
};

// What guessing costs beside the step that verifies.
struct DraftCost {
  double ms = 0;           // in each step
  double catch_up_ms = 0;  // once, for tokens that the proposer has yet to read
};

// A way to guess what sequences will say next. Guesses are verified, so they cost time when they
// are wrong and change no answer.
class Proposer {
 public:
  virtual ~Proposer() = default;
  // What requests and options call it.
  virtual std::string_view method() const = 0;
  // Fills `nodes` and `chances` of the slots for which it has a guess. Once in a step.
  virtual void propose(std::span<DraftSlot> slots) = 0;
  // What propose() would take of these slots, as learned from earlier calls; 0 before the first,
  // and of what is nothing beside a step.
  virtual DraftCost cost_of(std::span<const DraftSlot> /*slots*/) { return {}; }
  // The sequence has left, and will say nothing more.
  virtual void forget(const Sequence& sequence) = 0;
};

using Proposers = std::vector<std::unique_ptr<Proposer>>;

}  // namespace millrace
