#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/executor.h"
#include "core/generator.h"
#include "decode/all.h"

namespace millrace {

// A model for tests that has no weights: the logits after some tokens are a hash of them all. What
// is special about it is where it looks them up.
struct ScriptedModel {
  int32_t vocab = 4;
  uint64_t seed = 1;
  // One row in so many is not a number; 0: none.
  uint32_t broken_every = 0;

  std::vector<float> logits(uint64_t prefix) const;
};

// What an executor keeps of one token, and what all of a prefix come to.
uint64_t stored_token(TokenId token, int64_t position);
uint64_t fold(uint64_t prefix, uint64_t stored);
inline constexpr uint64_t kEmptyPrefix = 0x243F6A8885A308D3;  // any number does: digits of pi

// Draws as exec/sampler does in spirit, by the plainest means.
struct Drawn {
  Chosen chosen;
  std::vector<TokenLogprob> top;
  std::vector<float> scored;
};
Drawn draw(std::span<const float> logits, int32_t position, const Choices& choices,
           const RowChoice& order);

// Stores each row's token in the slot that its batch says and reads the prefix back through the
// block table. So a wrong table, a copy not made, a block lost to somebody else or a row not stored
// changes what is answered. Two groups of layers check that each gets its tables and copies.
class ScriptedExecutor final : public Executor {
 public:
  ScriptedExecutor(ScriptedModel model, int32_t block_tokens, int64_t blocks, int32_t rows_max,
                   int32_t sequences_max);

  const Capacity& capacity() const override { return capacity_; }
  absl::Status start(const Batch& batch) override;
  absl::Status finish(const Choices& choices, StepOutput& output) override;

  // From so many steps on it fails for good.
  void break_after(int64_t steps) { steps_max_ = steps; }
  int64_t rows_computed() const { return rows_computed_; }
  int64_t copies_made() const { return copies_made_; }

 private:
  uint64_t& slot(int32_t group, int32_t slice, int32_t slot);
  // Nobody else in the batch may read a block that is written.
  void check_alone(int32_t slice, int32_t slot) const;
  void make_copies();
  uint64_t compute_row(int32_t slice, int32_t row);

  const ScriptedModel model_;
  Capacity capacity_;
  std::vector<std::vector<uint64_t>> store_;  // [groups, blocks * block_tokens]
  const Batch* batch_ = nullptr;
  int64_t steps_ = 0;
  int64_t steps_max_ = std::numeric_limits<int64_t>::max();
  int64_t rows_computed_ = 0;
  int64_t copies_made_ = 0;
};

// A vocabulary of a few letters, of which token 0 ends an answer.
std::unique_ptr<const Tokenizer> letters(int32_t vocab);

// The answer that a request gets from the model alone: one choice after the other, token by token,
// no blocks, no batch. Its events choice by choice; `error`: of the first row that had one.
struct NaiveAnswer {
  std::vector<TokenEvent> events;
  RowError error = RowError::kNone;
};
NaiveAnswer answer_naively(const ScriptedModel& model, const Tokenizer& tokenizer,
                           const Request& request);

// Keeps what it is given.
class Notebook final : public TokenSink {
 public:
  bool tokens(std::span<const TokenEvent> events) override;
  void finish(const FinishEvent& event) override;

  std::vector<TokenEvent> events;
  std::vector<FinishEvent> ends;
  size_t events_max = std::numeric_limits<size_t>::max();  // then it listens no more
};

}  // namespace millrace
