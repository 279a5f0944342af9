#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/clock.h"
#include "base/status.h"
#include "core/cost/cost_model.h"
#include "core/executor.h"
#include "core/plan.h"
#include "decode/propose/growing_tree.h"
#include "decode/propose/proposer.h"
#include "kv/ledger.h"

namespace millrace {

struct DraftModelOptions {
  int32_t tree_width = 1;    // children of a node, and nodes that grow at once; 1: chains
  double chance_min = 0;     // a token that is less likely is not drafted
  int32_t vocab_size = 0;    // tokens that the draft model can read
  int32_t tokens_known = 0;  // that the target knows: others are not drafted
  int64_t context_max = std::numeric_limits<int64_t>::max();  // of the draft model
  int32_t depth_min = 0;  // a draft that is not so deep is not made
  bool prefix_caching = true;
};

// A smaller model goes ahead (Leviathan et al. 2023), in trees where it is allowed to (SpecInfer,
// Miao et al. 2023). It has an executor and a cache of its own, in which each sequence that it
// drafts for has a mirror: the same tokens, of which it has computed others. All slots grow by a
// level in one batch. What is short of memory, or has too much left to read, goes without a draft;
// an executor that fails ends drafting, not the server.
class DraftModelProposer final : public Proposer {
 public:
  // Of the draft model's executor. UNIMPLEMENTED: the model keeps states.
  static absl::Status supports(std::span<const KvGroup> groups);
  // `executor`, whose groups are supported, and `clock` outlive it.
  DraftModelProposer(const DraftModelOptions& options, Executor& executor, const Clock& clock);

  std::string_view method() const override { return kMethod; }
  void propose(std::span<DraftSlot> slots) override;
  DraftCost cost_of(std::span<const DraftSlot> slots) override;
  void forget(const Sequence& sequence) override;

  const Ledger& ledger() const { return ledger_; }

  static constexpr std::string_view kMethod = "draft_model";

 private:
  // `tokens` are those of the sequence and of a path that is drafted; the last settled state of the
  // ledger is before that path.
  struct Mirror {
    Sequence sequence;
    bool is_readable = true;  // it has only tokens that the draft model knows
  };
  // A slot in the making.
  struct Growth {
    DraftSlot* slot = nullptr;
    Mirror* mirror = nullptr;
    GrowingTree tree = {};
    bool can_grow = false;  // the mirror has caught up, and there was room so far
  };
  // A row of the batch whose likeliest tokens are asked for.
  struct Question {
    Growth* growth;
    int32_t node;
    int32_t slice;
    int32_t row;  // of the slice
  };

  void begin(std::span<DraftSlot> slots);
  Mirror& mirror_of(const Sequence& sequence);
  void follow(const Sequence& sequence, Mirror& mirror);
  absl::Status catch_up();
  int64_t place_next(Mirror& mirror, int64_t rows_left);
  void give_up(Sequence& own);
  bool will_find_more(const Sequence& newcomer) const;
  UnitCounts reserved() const;
  // Lets every tree that can grow by a level of its frontier.
  absl::Status grow();
  void plan_growth(Growth& growth, std::span<const int32_t> frontier);
  int32_t add_draft(const GrowingTree& tree, size_t shared, std::span<const int32_t> frontier,
                    Growth& growth);
  absl::Status run_step();
  void order_draws();
  void read_answers();
  void fail(const absl::Status& status);
  int64_t unread(const Sequence& sequence);
  StepShape shape_of_level(std::span<const DraftSlot> slots, int32_t level) const;

  const DraftModelOptions options_;
  Executor& executor_;
  const Clock& clock_;
  Ledger ledger_;
  CostModel cost_;
  bool is_broken_ = false;
  absl::flat_hash_map<SeqId, std::unique_ptr<Mirror>> mirrors_;
  // Of one propose().
  std::vector<Growth> growths_;
  Plan plan_;
  Batch batch_;
  DrawOrders orders_;
  StepOutput output_;
  std::vector<Question> questions_;  // of the batch's rows, ascending
  std::vector<TokenLogprob> children_;
};

}  // namespace millrace
