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
#include "kv/block_pool.h"
#include "kv/block_table.h"
#include "kv/prefix_tree.h"

namespace millrace {

// Who holds which blocks: the only door to them. A block stands for the unit of its number in every
// group at once, so all groups share one table.
class Ledger {
 public:
  // UNIMPLEMENTED for a layout whose groups cannot share a table; INVALID_ARGUMENT for no room.
  static absl::Status supports(std::span<const KvGroup> groups);
  Ledger(std::span<const KvGroup> groups, bool prefix_caching);

  // Makes room for the sequence's next `want` tokens, or for as many as there is room for, and
  // returns how many of them may be computed. One that holds nothing begins with what the prefix
  // tree has of its tokens (`computed` then says how many need not be computed), and is let in only
  // if everything it knows fits beside `spare` free blocks; otherwise it holds nothing still.
  // Pre: want > 0.
  int64_t place(Sequence& sequence, int64_t want, int64_t spare = 0);
  // Whether place(), which has just returned 0, would return more once `holders` are preempted.
  // Pre: each of them holds blocks, and `sequence` is none of them.
  bool has_room_without(std::span<Sequence* const> holders, const Sequence& sequence,
                        int64_t spare) const;
  // Blocks that a holder has yet to be given for what it knows, at least one, as it will know more;
  // of a newcomer none.
  int64_t reserve(const Sequence& sequence) const;
  // After a step that computed rows of the sequence and advanced it: full blocks become findable,
  // those beyond what is stored are given back.
  void settle(const Sequence& sequence);
  // The child begins with what its parent holds, and copies a block before it writes there.
  // Pre: the parent holds blocks, the child none.
  void fork(SeqId parent, SeqId child);
  // Gives back all that it holds; the sequence computes it again, or finds it in the tree.
  void preempt(Sequence& sequence);
  // Gives back what is held, if anything is.
  void release(SeqId sequence);
  // Adds tables, write_from and copies to a batch whose slices were all placed.
  void drain(Batch& batch);

  // Post: `findable` says how much of what the sequence knows is in the prefix tree now.
  void look_up(Sequence& sequence) const;
  // Whether `running` is yet to store blocks of tokens that `newcomer`, which holds nothing, could
  // begin with.
  bool will_share(const Sequence& newcomer, const Sequence& running) const;

  bool holds(SeqId sequence) const { return tables_.contains(sequence); }
  int64_t sequences() const { return static_cast<int64_t>(tables_.size()); }
  int64_t blocks() const { return pool_.size(); }
  int64_t blocks_held() const { return pool_.held(); }

  void check_integrity() const;

 private:
  // A copy that the next batch will make. Its source is held until then.
  struct PendingCopy {
    SeqId sequence;
    BlockId from, to;
    int32_t tokens;
  };

  int64_t blocks_for(int64_t tokens) const { return (tokens + block_tokens_ - 1) / block_tokens_; }
  int64_t available() const;
  bool open(Sequence& sequence, BlockTable& table, int64_t spare);
  BlockTable cached_prefix(const Sequence& sequence) const;
  void copy_partial_block(const Sequence& sequence, BlockTable& table);
  int64_t block_to_write(const BlockTable& table) const { return table.stored / block_tokens_; }
  int64_t holding_sequences(BlockId block) const;
  bool make_writable(SeqId sequence, BlockTable& table);
  void publish(const Sequence& sequence, BlockTable& table);
  PrefixTree::Match next_in_tree(const Sequence& sequence, const BlockTable& table) const;
  void copy(SeqId sequence, BlockId from, BlockId to, int64_t tokens);

  BlockId take();
  void hold(BlockId block);
  void let_go(BlockId block);

  const int64_t block_tokens_;
  const int32_t groups_;
  BlockPool pool_;
  std::unique_ptr<PrefixTree> tree_;  // null: no prefix caching
  absl::flat_hash_map<SeqId, BlockTable> tables_;
  std::vector<PendingCopy> copies_;
};

}  // namespace millrace
