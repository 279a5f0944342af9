#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/ids.h"

namespace millrace {

// A guess, as far as it tells how likely it holds.
struct Guess {
  int32_t method = 0;
  int32_t depth = 1;  // tokens after the last known one
  float chance = 0;   // in its proposer's own account
};

// How likely a drafted token holds where the one before it did: by method, depth and the proposer's
// own account, learned from all sequences with decay, and corrected by how well the method did on
// this one. Without experience it is the proposer's account.
class Acceptance {
 public:
  explicit Acceptance(size_t methods) : methods_(methods) {}

  double of(SeqId sequence, const Guess& guess) const;
  // Of the likeliest guess of a method at a depth, before it has made one.
  double before(SeqId sequence, int32_t method, int32_t depth) const;
  void observe(SeqId sequence, const Guess& guess, bool is_likeliest, bool held);
  // A step has passed: what was learned fades.
  void step() { ++now_; }
  void forget(SeqId sequence) { sequences_.erase(sequence); }

 private:
  static constexpr size_t kDepths = 4, kChances = 10;

  // Of guesses that were tested.
  class Share {
   public:
    void add(bool held, int64_t now);
    // With `assumed` for so many tests as make an assumption.
    double value(double assumed, int64_t now) const;

   private:
    double held_ = 0, tested_ = 0;
    int64_t at_ = 0;
  };
  struct OfMethod {
    std::array<std::array<Share, kChances>, kDepths> by_chance = {};
    std::array<Share, kDepths> likeliest = {};
  };
  struct OfSequence {
    double held = 0, expected = 0;
  };

  static size_t depth_class(int32_t depth);
  static size_t chance_class(float chance);
  double correction(SeqId sequence, int32_t method) const;
  const OfMethod& method(int32_t index) const { return methods_[static_cast<size_t>(index)]; }

  std::vector<OfMethod> methods_;
  absl::flat_hash_map<SeqId, std::vector<OfSequence>> sequences_;  // [methods]
  int64_t now_ = 0;                                                // in steps
};

}  // namespace millrace
