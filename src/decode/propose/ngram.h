#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "decode/propose/proposer.h"

namespace millrace {

struct NgramOptions {
  int32_t match_min = 3;  // tokens at the end that must have come before
  int32_t match_max = 5;
};

// Where the last tokens of one sequence came before. Each token costs match_max - match_min + 1
// insertions into a hash table, however long the sequence is.
class NgramIndex {
 public:
  explicit NgramIndex(const NgramOptions& options);

  // Takes in the tokens behind those that it has. Pre: `tokens` begins with these.
  void grow(std::span<const TokenId> tokens);
  int64_t indexed() const { return indexed_; }  // tokens that it has
  // How many tokens came before the latest earlier place at which the longest run of last tokens
  // ended; -1: not even the shortest came before.
  int64_t continuation() const { return continuation_; }
  // The length of that run.
  int32_t matched() const { return matched_; }

 private:
  void add(std::span<const TokenId> tokens);

  const NgramOptions options_;
  int64_t indexed_ = 0;  // tokens
  int64_t continuation_ = -1;
  int32_t matched_ = 0;
  std::vector<absl::flat_hash_map<uint64_t, int64_t>> ends_;  // [lengths] by hash of a run: tokens
                                                              // up to its last end
};

// Prompt lookup (Saxena 2023, "Prompt Lookup Decoding"; the reference copying of Yang et al. 2023,
// "Inference with Reference"): what followed the last tokens when they came before is guessed to
// follow again.
class NgramProposer final : public Proposer {
 public:
  explicit NgramProposer(const NgramOptions& options) : options_(options) {}

  std::string_view method() const override { return "ngram"; }
  void propose(std::span<DraftSlot> slots) override;
  void forget(const Sequence& sequence) override { indices_.erase(sequence.id); }

 private:
  const NgramOptions options_;
  absl::flat_hash_map<SeqId, std::unique_ptr<NgramIndex>> indices_;
};

}  // namespace millrace
