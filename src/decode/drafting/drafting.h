#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "core/cost/cost_model.h"
#include "core/flight.h"
#include "decode/drafting/acceptance.h"
#include "decode/drafting/draft_tree.h"
#include "decode/drafting/step_price.h"
#include "decode/propose/proposer.h"

namespace millrace {

// What is drafted in a step. A sequence whose request or server names methods gets all that they
// propose, up to the most nodes of a draft. Without a name ("auto") drafts have to pay: from how
// often guesses held and from what rows and proposers cost, those nodes are taken, of all such
// sequences together, with which the step yields most tokens a millisecond (the survival
// probabilities of Li et al. 2024, "EAGLE-2", weighed against the price of a row).
class Drafting {
 public:
  // Without proposers nothing is drafted. The cost model and the clock outlive this; the model
  // learns the engine's own steps.
  Drafting(const DraftingOptions& options, Proposers proposers, const CostModel& cost,
           const Clock& clock);

  // Adds drafts to slices of sequences that have said something and compute all that they know.
  void propose(Plan& plan);
  // What was drawn says which guesses held, those that were not verified too.
  void learn(const Flight& flight);
  void forget(const Sequence& sequence);

 private:
  // A slice that may get a draft.
  struct Work {
    size_t slice = 0;
    const Sequence* sequence = nullptr;
    bool is_auto = false;
    int32_t depth_max = 0;
    DraftTree tree = {};
  };
  // What a method was asked in this step.
  struct Asked {
    std::vector<DraftSlot> slots;
    std::vector<size_t> works;  // [slots]

    void clear() {
      slots.clear();
      works.clear();
    }
  };
  // Tokens that come of a tree's nodes, and the rows that they take.
  struct Yield {
    double tokens = 0;
    int64_t rows = 0, keys = 0;

    void add(const Yield& other) {
      tokens += other.tokens;
      rows += other.rows;
      keys += other.keys;
    }
    void take(const Yield& other) {
      tokens -= other.tokens;
      rows -= other.rows;
      keys -= other.keys;
    }
  };

  // Trying a method that does not seem to pay: so its price and its guesses become known.
  struct Probe {
    double saved_ms = 500;  // that may be spent; grows with time
    int32_t steps_left = 0;
    SeqId sequence;
  };

  void collect(const Plan& plan);
  int32_t depth_of(const Sequence& sequence) const;
  bool is_asked(const Work& work, const Proposer& proposer) const;
  void ask(size_t method, int32_t rows_left, const StepPrice& price, Plan& plan);
  void limit_depths(size_t method, int32_t rows_left, const StepPrice& price);
  void probe(size_t method, double step_ms);
  double tokens_to_come(const Sequence& sequence) const;
  std::vector<Yield> yields(int32_t rows_left, const StepPrice& price);
  Yield expected_of(size_t method, const Work& work, int32_t depth) const;
  static void drop_unwanted(Asked& asked);
  void merge(size_t method);
  void list_candidates(size_t work);
  size_t choose_best(int32_t rows_left, const StepPrice& price);
  void write(Plan& plan) const;
  void learn_from(size_t method, const DraftSlot& slot, const Outcome& outcome,
                  const Flight& flight);

  const DraftingOptions options_;
  Proposers proposers_;
  const CostModel& cost_;
  const Clock& clock_;
  Acceptance acceptance_;
  double answer_tokens_ = 128;  // of those that ended lately, in the mean
  std::vector<Work> works_;
  size_t work_count_ = 0;      // of works_; the others keep their memory
  std::vector<Asked> asked_;   // [proposers_]
  std::vector<Probe> probes_;  // [proposers_]
  std::vector<Candidate> candidates_;
  std::vector<int32_t> path_;
};

}  // namespace millrace
