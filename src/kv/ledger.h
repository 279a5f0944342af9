#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/status.h"
#include "core/batch.h"
#include "core/kv_spec.h"
#include "core/sequence.h"
#include "kv/prefix_tree.h"
#include "kv/sequence_table.h"
#include "kv/snapshot_rule.h"
#include "kv/unit_counts.h"
#include "kv/unit_pools.h"
#include "kv/usable_prefix.h"

namespace millrace {

struct LedgerOptions {
  bool prefix_caching = true;
  int64_t state_snapshot_tokens = 512;  // a state is kept for others every so many; 0: only where
                                        // prompts end
  // Nodes of the prefix tree where no group without a window bounds them: of blocks of 16 tokens
  // they spell 2M and take 20 MB.
  int32_t nodes_max = 1 << 17;
};

// Who holds which units of which group: the only door to them.
class Ledger {
 public:
  // UNIMPLEMENTED for groups that it cannot hold together; INVALID_ARGUMENT for no room.
  static absl::Status supports(std::span<const KvGroup> groups);
  // What a sequence alone can reach; INT64_MAX where each group can go on for ever.
  static int64_t longest_sequence(std::span<const KvGroup> groups);
  Ledger(std::span<const KvGroup> groups, LedgerOptions options);

  // Makes room for the sequence's next `want` tokens, or for as many as there is room for, and
  // returns how many of them may be computed. One that holds nothing begins with what the prefix
  // tree has of its tokens (`computed` then says how many need not be computed), and is let in only
  // if everything it knows fits beside `spare` units; otherwise it holds nothing still.
  // Pre: want > 0.
  int64_t place(Sequence& sequence, int64_t want, const UnitCounts& spare = {});
  // Makes room for up to `rows` rows of a draft behind all that the sequence knows, for which
  // place() made room in this step; returns for how many. What is idle may be evicted. Where states
  // are kept, a unit is taken for the state before the draft.
  int64_t place_draft(SeqId sequence, int64_t rows);
  // Whether place(), which has just returned 0, would return more once `holders` are preempted.
  // Pre: each of them holds units, and `sequence` is none of them.
  bool has_room_without(std::span<Sequence* const> holders, const Sequence& sequence,
                        const UnitCounts& spare) const;
  // Units that a holder has yet to be given for what it knows, at least one block, as it will know
  // more; of a newcomer none.
  UnitCounts reserve(const Sequence& sequence) const;
  // After a step that computed rows of known tokens of the sequence and advanced it by them: full
  // blocks and the states that were kept become findable; blocks beyond what is stored, and those
  // that no row of it reads any more, are given back. `agreed`: so many of its draft's first rows
  // hold, one in each slot, what it now knows. They count as computed too, but where its state went
  // on beyond them: then it is the one before the draft again, and they are computed once more.
  // Without states a sequence may take several steps before it is settled, and then goes back to
  // any length since the last time that it was: what it had beyond is forgotten.
  void settle(Sequence& sequence, int64_t agreed = 0);
  // The child begins with what its parent holds, and copies a block or a state before it changes
  // it. Pre: the parent was settled, the child holds nothing.
  void fork(SeqId parent, SeqId child);
  // Gives back all that it holds; the sequence computes it again, or finds it in the tree.
  void preempt(Sequence& sequence);
  // Gives back what is held, if anything is.
  void release(SeqId sequence);
  // Adds tables, write_from, copies and saves to a batch whose slices were all placed. States are
  // kept in what the placed sequences left.
  void drain(Batch& batch);

  // Post: `findable` says how much of what the sequence knows is in the prefix tree now.
  void look_up(Sequence& sequence) const;
  // Whether `running` is yet to store tokens that `newcomer`, which holds nothing, could begin
  // with.
  bool will_share(const Sequence& newcomer, const Sequence& running) const;

  bool holds(SeqId sequence) const { return tables_.contains(sequence); }
  int64_t sequences() const { return static_cast<int64_t>(tables_.size()); }
  bool keeps_states() const { return state_group_ >= 0; }
  std::span<const KvGroup> groups() const { return groups_; }
  int64_t held(int32_t group) const { return pools_.held(group); }
  int64_t idle(int32_t group) const { return pools_.idle(group); }  // for what begins alike
  int64_t evictions(int32_t group) const { return pools_.evictions(group); }

  void check_integrity() const;

 private:
  // A copy that the next batch will make. Its source is held until then.
  struct PendingCopy {
    SeqId sequence;
    BlockCopy copy;
  };

  int32_t group_count() const { return static_cast<int32_t>(groups_.size()); }
  const KvGroup& group(int32_t i) const { return groups_[static_cast<size_t>(i)]; }
  bool is_state(int32_t i) const { return i == state_group_; }
  int64_t blocks_for(int64_t tokens) const { return (tokens + block_tokens_ - 1) / block_tokens_; }

  bool open(Sequence& sequence, SequenceTable& table, const UnitCounts& spare);
  int64_t grow(const Sequence& sequence, int64_t rows, SequenceTable& table);
  UsablePrefix usable_prefix(const Sequence& sequence) const;
  SequenceTable table_of(const UsablePrefix& prefix) const;
  int64_t missing(const SequenceTable& table, int32_t group, int64_t tokens) const;
  void copy_partial_block(const Sequence& sequence, SequenceTable& table);
  void begin_state(SeqId sequence, const UsablePrefix& prefix, SequenceTable& table);
  bool add_block(SequenceTable& table);
  BlockId unit_to_write(const SequenceTable& table, int32_t group) const;
  int64_t holding_sequences(int32_t group, BlockId unit) const;
  int64_t needed_to_write(const SequenceTable& table, int32_t group) const;
  bool make_writable(SeqId sequence, SequenceTable& table);
  // Invalid when there is no unit.
  BlockId take_copy(SeqId sequence, int32_t group, BlockId from, int64_t tokens);
  void give_back_unread(SequenceTable& table, int64_t computed);
  void give_back_unused(SequenceTable& table);
  void keep_draft(Sequence& sequence, int64_t agreed, SequenceTable& table);

  void take_snapshots(int64_t rows, SequenceTable& table);
  void take_snapshot(int64_t tokens, bool moves, SequenceTable& table);
  void drop_moving(SequenceTable& table);
  void publish(const Sequence& sequence, SequenceTable& table);
  int64_t blocks_to_publish(const SequenceTable& table) const;
  NodeId next_node(const Sequence& sequence, const SequenceTable& table);
  void share_units(SequenceTable& table, int64_t block);
  void keep_snapshot(const Snapshot& snapshot, SequenceTable& table);
  void check_table(SeqId sequence, const SequenceTable& table) const;

  const std::vector<KvGroup> groups_;
  const int64_t block_tokens_;
  const int32_t state_group_;  // -1: none
  const SnapshotRule rule_;
  const std::unique_ptr<PrefixTree> tree_;  // null: no prefix caching
  UnitPools pools_;
  absl::flat_hash_map<SeqId, SequenceTable> tables_;
  std::vector<PendingCopy> copies_;
};

}  // namespace millrace
