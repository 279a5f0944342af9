#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "core/csr.h"

namespace millrace {

struct Plan;

// One sequence's rows in one step: rows [row, row + rows) of the batch. First those of tokens that
// it knows, at least one, their positions and slots ascending by one and equal; then those of a
// draft, whose slots go on ascending by one and whose positions follow their parents'.
struct SliceHead {
  SeqId sequence;
  int32_t row = 0;
  int32_t rows = 0;        // those of the draft included
  int32_t draft_rows = 0;  // behind the last known token's row
  // Rows at positions below this lie in shared blocks: they are computed and not stored.
  int32_t write_from = 0;
};

// Copies the first `tokens` tokens of a block, or a state, in every layer of the group, before the
// forward.
struct BlockCopy {
  int32_t group = 0;
  BlockId from, to;
  int32_t tokens = 0;
};

// After the first `rows` rows of a slice, at most those of known tokens, its state is copied into
// `unit`.
struct StateSave {
  int32_t slice = 0;
  int32_t rows = 0;
  BlockId unit;
};

// The parcel between the wings: what to compute in one step. Flat and without pointers, so it can
// cross a wire as it is.
struct Batch {
  std::vector<SliceHead> slices;
  std::vector<TokenId> tokens;     // [rows]
  std::vector<int32_t> positions;  // [rows] in the sequence: for rope, attention and random keys
  std::vector<int32_t>
      slots;  // [rows] where the row is stored: table[slot / block_tokens], slot % block_tokens
  // [rows] of a draft's row, the row of the token that it follows; -1 of those of known tokens. In
  // a batch without drafts empty.
  std::vector<int32_t> parents;
  // [groups], a row a slice: of tokens, a block for every slot read or written, invalid where no
  // row reads any more; of state, the sequence's unit, which is zero before position 0.
  std::vector<Csr<BlockId>> tables;
  std::vector<int32_t> wants;  // rows whose logits are needed, ascending
  std::vector<BlockCopy> copies;
  std::vector<StateSave> saves;  // by slice, then by rows

  int32_t rows() const { return static_cast<int32_t>(tokens.size()); }
  void clear() {
    slices.clear();
    tokens.clear();
    positions.clear();
    slots.clear();
    parents.clear();
    for (Csr<BlockId>& table : tables) table.clear();
    wants.clear();
    copies.clear();
    saves.clear();
  }
};

// Flattens a plan: slices, tokens, positions, slots and wants. Block tables, copies and write_from
// are the ledger's to add.
void flatten(const Plan& plan, Batch& batch);

}  // namespace millrace
