#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/functional/function_ref.h>

#include "decode/propose/proposer.h"
#include "decode/propose/suffix_tree.h"

namespace millrace {

struct SuffixOptions {
  int32_t tree_depth = 24;      // tokens of a match and of the draft behind it; at least 2
  int64_t answers_max = 10000;  // earlier ones that are kept; 0: none
  int64_t bytes_max = int64_t{128} << 20;  // of memory for them
  double nodes_per_match = 1;              // the most nodes of a draft for each token of a match
  double chance_min = 0.1;                 // of a node, by how often its path followed the match
};

// What was answered earlier, apart by cache salt: what one salt asks for is never guessed from what
// another was told. When room is short, a salt that would hold more than its share (an equal part
// of what all hold) makes it with its own answers, or else the salt that has the most does. So one
// that has less than its share loses nothing to others. Of a salt the oldest answers go; one that
// was drafted from lately may become the newest instead.
class PastAnswers {
 public:
  explicit PastAnswers(const SuffixOptions& options);

  // An answer is not kept that needs more than half of the memory or, when room is short, more than
  // its salt's share.
  void add(uint64_t salt, std::span<const TokenId> answer);
  // Of the salt's answers in tree(); -1: there are none.
  int32_t root(uint64_t salt) const;
  // A run of this text was drafted from.
  void use(int32_t text) { answers_[static_cast<size_t>(text)].used = true; }

  const SuffixTree& tree() const { return tree_; }
  int64_t size() const { return held_.answers; }
  int64_t bytes() const { return tree_.bytes(); }

 private:
  struct Held {
    int64_t answers = 0;
    int64_t tokens = 0;  // and what an answer takes besides, in tokens
  };
  struct Answer {
    int32_t next = -1;  // newer one of its salt
    bool used = false;  // since it was the newest
  };
  struct Salt {
    int32_t root = -1;
    int32_t oldest = -1;
    int32_t newest = -1;
    Held held;
  };

  bool make_room(uint64_t salt, int64_t tokens);
  std::optional<uint64_t> payer(uint64_t salt, int64_t Held::*what, int64_t added) const;
  void push(Salt& salt, std::span<const TokenId> answer);
  std::vector<TokenId> pop(Salt& salt);

  const int64_t answers_max_;
  const int64_t nodes_max_;
  SuffixTree tree_;
  std::vector<Answer> answers_;  // [texts]
  absl::flat_hash_map<uint64_t, Salt> salts_;
  Held held_;
};

// A draft that grows behind a run of a tree, the likeliest node first.
class SuffixDraft {
 public:
  struct Bounds {
    int64_t nodes = 0;
    int32_t depth = 0;
    double chance_min = 0;
  };

  void clear();
  // Pre: `run` has `length` tokens, at least one.
  void grow(const SuffixTree& tree, SuffixTree::Place run, int32_t length, const Bounds& bounds);
  // Tokens that are expected to be accepted: the sum of the nodes' chances.
  double score() const { return score_; }
  // The likelier nodes first.
  void write(DraftSlot& slot) const;

 private:
  struct Node {
    TokenId token = 0;
    int32_t parent = -1;
    int32_t depth = 0;
    float chance = 0;  // where its parent's token came
    double joint = 0;  // with its path
    int64_t recency = 0;
    SuffixTree::Place place;
  };

  static bool comes_after(const Node& a, const Node& b);
  void offer(const SuffixTree& tree, const Node& parent, int32_t index, int32_t length,
             const Bounds& bounds);

  double score_ = 0;
  std::vector<Node> taken_;
  std::vector<Node> open_;  // a heap of what may be taken next
  std::vector<SuffixTree::Continuation> next_;
};

// Suffix decoding (Oliaro et al. 2024): the longest run of last tokens that came before in the
// sequence, or in an earlier answer, is looked up, and how often what followed it each time makes a
// tree. Of the two trees the one that promises more tokens is drafted.
class SuffixProposer final : public Proposer {
 public:
  explicit SuffixProposer(const SuffixOptions& options) : options_(options), past_(options) {}

  std::string_view method() const override { return "suffix"; }
  void propose(std::span<DraftSlot> slots) override;
  // Its answer is one of the earlier ones from now on.
  void forget(const Sequence& sequence) override;

  const PastAnswers& past() const { return past_; }

 private:
  // The sequence's tree with all of its tokens; null: more are to be read than `left`, which is
  // less by what was.
  const SuffixTree* grown(const Sequence& sequence, int64_t& left);
  void propose(const SuffixTree& own, DraftSlot& slot);
  // Returns the place of the run that it grew behind.
  SuffixTree::Place draft(const SuffixTree& tree, int32_t matched,
                          absl::FunctionRef<SuffixTree::Place(int32_t length)> place_of,
                          const DraftSlot& slot, SuffixDraft& draft) const;

  const SuffixOptions options_;
  PastAnswers past_;
  absl::flat_hash_map<SeqId, std::unique_ptr<SuffixTree>> own_;
  SuffixDraft from_own_, from_past_;
};

}  // namespace millrace
