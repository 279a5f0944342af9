#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "kv/prefix_tree.h"

namespace millrace {

// What a sequence holds in one group: of tokens, unit i is the block of its i-th block's worth of
// them; of states there is one unit.
struct GroupTable {
  std::vector<BlockId> units;  // invalid where given back
  int64_t given_back = 0;      // leading ones, which lie behind the window

  int64_t held() const { return static_cast<int64_t>(units.size()) - given_back; }
  BlockId& at(int64_t i) { return units[static_cast<size_t>(i)]; }
  BlockId at(int64_t i) const { return units[static_cast<size_t>(i)]; }
};

// A copy of a state that the step makes on its way.
struct Snapshot {
  int64_t tokens = 0;  // of the sequence, which it is the state after
  BlockId unit;
  bool moves = false;  // the next one of its kind takes its place
};

// Where one sequence's tokens and state are.
struct SequenceTable {
  std::vector<GroupTable> groups;
  int64_t blocks = 0;     // in each group that keeps tokens, those given back included
  int64_t stored = 0;     // leading tokens that are there; at least `computed`
  int64_t published = 0;  // leading blocks that have a node in the prefix tree
  NodeId tail;            // the last of these nodes; invalid: none
  // Of the step that it was placed for.
  int64_t computed = 0;             // before it
  int64_t rows = 0;                 // of known tokens that it computes
  int64_t draft_rows = 0;           // behind them
  int64_t prompt = 0;               // tokens of the prompt
  std::vector<Snapshot> snapshots;  // that it makes, ascending
  BlockId before_draft;             // where the state before the draft goes; invalid: nowhere
  NodeId moving;                    // where the last snapshot that moves is; invalid: nowhere

  GroupTable& at(int32_t group) { return groups[static_cast<size_t>(group)]; }
  const GroupTable& at(int32_t group) const { return groups[static_cast<size_t>(group)]; }
};

}  // namespace millrace
