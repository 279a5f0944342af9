#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "core/flight.h"
#include "kv/ledger.h"
#include "sched/limits.h"
#include "sched/policy.h"

namespace millrace {

// Hands out a step's rows, then memory for them. No sequence that holds nothing overtakes one that
// waits for memory, so none starves; and a step with live sequences always computes something.
class Planner {
 public:
  Planner(std::unique_ptr<Policy> policy, Limits limits);

  // Pre: the whole cache can hold what any one of them needs at once.
  // Post: slices by rank, each with units in the ledger for its rows; at least one if any sequence
  // has tokens.
  void plan(std::span<Sequence* const> live, Ledger& ledger, Instant now, Flight& flight);
  // Gives the drafts that were added to the plan rows and units by rank, of what is left, and cuts
  // what has no room. Nothing that a sequence holds is taken for a draft.
  void fit(Ledger& ledger, Plan& plan) const;

 private:
  struct Candidate {
    Rank rank;
    Sequence* sequence;
    int64_t left;      // rows that it has yet to compute, as far as can be told
    int64_t rows = 0;  // of this step
  };

  void rank(std::span<Sequence* const> live, const Ledger& ledger, Instant now);
  void share_rows(const Ledger& ledger);
  void share_among_prompts(Candidate& first, const Ledger& ledger);
  int64_t rows_for_drafts(const Ledger& ledger) const;
  Candidate* share_among_decoding(const Ledger& ledger);
  bool decodes(const Candidate& candidate, const Ledger& ledger) const;
  void sort_by_length();
  void give(Candidate& candidate, int64_t rows, const Ledger& ledger);
  void place(Ledger& ledger, Plan& plan);
  int64_t place_one(size_t i, Ledger& ledger, Plan& plan);
  UnitCounts reserved(const Ledger& ledger) const;
  void choose_victims(size_t i, const Ledger& ledger);

  std::unique_ptr<Policy> policy_;
  const Limits limits_;
  std::vector<Candidate> ranked_;    // first to last
  std::vector<Candidate*> prompts_;  // of ranked_, but the first prompt: shortest first
  std::vector<Sequence*> victims_;   // to preempt
  int64_t rows_left_ = 0;            // of this step
  int64_t rows_kept_ = 0;            // of this step, for drafts
  int64_t sequences_left_ = 0;
};

}  // namespace millrace
