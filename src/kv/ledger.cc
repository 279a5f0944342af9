#include "kv/ledger.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace millrace {
namespace {

int32_t units_of(std::span<const KvGroup> groups) {
  int64_t units = std::numeric_limits<int32_t>::max();
  for (const KvGroup& group : groups) units = std::min(units, group.units);
  return static_cast<int32_t>(units);
}

std::span<const TokenId> tokens_from(const Sequence& sequence, int64_t begin, int64_t size) {
  return std::span(sequence.tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(size));
}

}  // namespace

absl::Status Ledger::supports(std::span<const KvGroup> groups) {
  if (groups.empty()) return invalid_argument("the executor keeps nothing of a sequence");
  for (const KvGroup& group : groups) {
    if (group.block_tokens != groups[0].block_tokens) {
      return unimplemented("groups of layers with blocks of {} and {} tokens",
                           groups[0].block_tokens, group.block_tokens);
    }
    if (group.block_tokens < 1 || group.units < 1) {
      return invalid_argument("the cache has {} blocks of {} tokens", group.units,
                              group.block_tokens);
    }
  }
  return absl::OkStatus();
}

Ledger::Ledger(std::span<const KvGroup> groups, bool prefix_caching)
    : block_tokens_(groups[0].block_tokens),
      groups_(static_cast<int32_t>(groups.size())),
      pool_(units_of(groups)) {
  if (prefix_caching) {
    tree_ = std::make_unique<PrefixTree>(pool_.size(), groups[0].block_tokens);
  }
}

int64_t Ledger::place(Sequence& sequence, int64_t want, int64_t spare) {
  const auto [found, opens] = tables_.try_emplace(sequence.id);
  BlockTable& table = found->second;
  if (opens && !open(sequence, table, spare)) {
    release(sequence.id);
    return 0;
  }
  const int64_t rows = std::min(want, sequence.pending());
  const int64_t end = sequence.computed + rows;
  if (end <= table.stored) return rows;
  if (!make_writable(sequence.id, table)) return table.stored - sequence.computed;
  while (table.size() < blocks_for(end)) {
    const BlockId block = take();
    if (!block.valid()) break;
    table.blocks.push_back(block);
  }
  return std::min(end, table.size() * block_tokens_) - sequence.computed;
}

bool Ledger::open(Sequence& sequence, BlockTable& table, int64_t spare) {
  table = cached_prefix(sequence);
  for (const BlockId block : table.blocks) hold(block);
  const int64_t missing = blocks_for(sequence.known()) - table.size();
  if (missing + spare > available()) return false;
  // The copy's source counts as taken until the copy is made.
  if (tree_ && missing < available()) copy_partial_block(sequence, table);
  sequence.computed = std::min(table.stored, sequence.skippable());
  if (sequence.cached < 0) sequence.cached = std::min(sequence.computed, sequence.prompt());
  return true;
}

PrefixTree::Match Ledger::next_in_tree(const Sequence& sequence, const BlockTable& table) const {
  const int64_t rest = std::min(block_tokens_, sequence.known() - table.stored);
  return tree_->best_child(table.parent(table.size()), sequence.request->cache_salt,
                           tokens_from(sequence, table.stored, rest));
}

BlockTable Ledger::cached_prefix(const Sequence& sequence) const {
  BlockTable table;
  while (tree_) {
    const PrefixTree::Match match = next_in_tree(sequence, table);
    if (match.tokens < block_tokens_) break;
    table.blocks.push_back(match.block);
    table.stored += block_tokens_;
  }
  table.published = table.size();
  return table;
}

void Ledger::look_up(Sequence& sequence) const {
  sequence.findable = std::min(cached_prefix(sequence).stored, sequence.skippable());
}

bool Ledger::will_share(const Sequence& newcomer, const Sequence& running) const {
  const bool can_share =
      tree_ && newcomer.request->cache_salt == running.request->cache_salt && !holds(newcomer.id);
  if (!can_share) return false;
  const auto end = std::ranges::mismatch(newcomer.tokens, running.tokens).in1;
  const int64_t agree = std::min(end - newcomer.tokens.begin(), newcomer.skippable());
  return agree / block_tokens_ * block_tokens_ > running.computed;
}

void Ledger::copy_partial_block(const Sequence& sequence, BlockTable& table) {
  const PrefixTree::Match match = next_in_tree(sequence, table);
  const int64_t tokens = std::min(match.tokens, sequence.skippable() - table.stored);
  if (tokens <= 0) return;
  hold(match.block);
  const BlockId block = take();
  copy(sequence.id, match.block, block, tokens);
  let_go(match.block);
  table.blocks.push_back(block);
  table.stored += tokens;
}

int64_t Ledger::holding_sequences(BlockId block) const {
  return pool_.holders(block) - std::ranges::count(copies_, block, &PendingCopy::from);
}

// The writer of a block that other sequences hold goes on in a copy. The last of them writes in
// place: the copies are made before the rows that it writes, which come after what they copy.
bool Ledger::make_writable(SeqId sequence, BlockTable& table) {
  const int64_t i = block_to_write(table);
  if (i >= table.size() || holding_sequences(table.at(i)) == 1) return true;
  const BlockId block = take();
  if (!block.valid()) return false;
  copy(sequence, table.at(i), block, table.stored % block_tokens_);
  let_go(table.at(i));
  table.at(i) = block;
  return true;
}

int64_t Ledger::reserve(const Sequence& sequence) const {
  const auto found = tables_.find(sequence.id);
  if (found == tables_.end()) return 0;
  return std::max<int64_t>(blocks_for(sequence.known()) - found->second.size(), 1);
}

bool Ledger::has_room_without(std::span<Sequence* const> holders, const Sequence& sequence,
                              int64_t spare) const {
  int64_t room = available();
  int64_t needed = 1;
  absl::flat_hash_map<BlockId, int64_t> remaining;  // holders of each block
  if (const auto found = tables_.find(sequence.id); found != tables_.end()) {
    // A block that it comes to hold alone needs no copy.
    const BlockTable& table = found->second;
    const int64_t i = block_to_write(table);
    if (i < table.size()) remaining[table.at(i)] = holding_sequences(table.at(i)) - 1;
  } else {
    const BlockTable table = cached_prefix(sequence);
    needed = blocks_for(sequence.known()) - table.size() + spare;
    for (const BlockId block : table.blocks) {
      if (pool_.holders(block) == 0) --room;
      remaining[block] = pool_.holders(block) + 1;
    }
  }
  for (const Sequence* holder : holders) {
    for (const BlockId block : tables_.at(holder->id).blocks) {
      int64_t& left = remaining.try_emplace(block, pool_.holders(block)).first->second;
      if (--left == 0) ++room;
    }
  }
  return room >= needed;
}

void Ledger::copy(SeqId sequence, BlockId from, BlockId to, int64_t tokens) {
  hold(from);
  copies_.push_back({sequence, from, to, static_cast<int32_t>(tokens)});
}

void Ledger::settle(const Sequence& sequence) {
  BlockTable& table = tables_.at(sequence.id);
  table.stored = std::max(table.stored, sequence.computed);
  if (tree_) publish(sequence, table);
  while (table.size() > blocks_for(table.stored)) {
    let_go(table.blocks.back());
    table.blocks.pop_back();
  }
}

void Ledger::publish(const Sequence& sequence, BlockTable& table) {
  for (; (table.published + 1) * block_tokens_ <= table.stored; ++table.published) {
    BlockId& own = table.at(table.published);
    const BlockId node =
        tree_->insert(table.parent(table.published), sequence.request->cache_salt,
                      tokens_from(sequence, table.published * block_tokens_, block_tokens_), own);
    if (node == own) continue;
    // Another sequence computed the same tokens in this step: equal bits, so one block is enough.
    hold(node);
    let_go(own);
    own = node;
  }
}

void Ledger::fork(SeqId parent, SeqId child) {
  BlockTable table = tables_.at(parent);
  for (const BlockId block : table.blocks) hold(block);
  const bool fresh = tables_.try_emplace(child, std::move(table)).second;
  CHECK(fresh, "sequence {} is forked but holds blocks", child);
}

void Ledger::preempt(Sequence& sequence) {
  release(sequence.id);
  sequence.findable = tree_ ? std::min(sequence.computed, sequence.skippable()) : 0;
  sequence.computed = 0;
  ++sequence.preemptions;
}

void Ledger::release(SeqId sequence) {
  const auto found = tables_.find(sequence);
  if (found == tables_.end()) return;
  std::erase_if(copies_, [&](const PendingCopy& copy) {
    if (copy.sequence == sequence) let_go(copy.from);
    return copy.sequence == sequence;
  });
  // The deepest first, as the prefix tree asks.
  std::vector<BlockId>& blocks = found->second.blocks;
  for (; !blocks.empty(); blocks.pop_back()) let_go(blocks.back());
  tables_.erase(found);
}

void Ledger::drain(Batch& batch) {
  batch.tables.resize(static_cast<size_t>(groups_));
  for (SliceHead& slice : batch.slices) {
    const BlockTable& table = tables_.at(slice.sequence);
    slice.write_from = static_cast<int32_t>(table.stored);
    for (Csr<BlockId>& rows : batch.tables) {
      rows.values.insert(rows.values.end(), table.blocks.begin(), table.blocks.end());
      rows.close_row();
    }
  }
  for (const PendingCopy& copy : copies_) {
    for (int32_t group = 0; group < groups_; ++group) {
      batch.copies.push_back({group, copy.from, copy.to, copy.tokens});
    }
    let_go(copy.from);
  }
  copies_.clear();
}

int64_t Ledger::available() const { return pool_.free() + (tree_ ? tree_->idle() : 0); }

BlockId Ledger::take() {
  if (const BlockId block = pool_.take(); block.valid() || !tree_) return block;
  const BlockId evicted = tree_->evict();
  if (evicted.valid()) pool_.hold(evicted);
  return evicted;
}

void Ledger::hold(BlockId block) {
  if (pool_.holders(block) == 0) tree_->make_held(block);
  pool_.hold(block);
}

void Ledger::let_go(BlockId block) {
  if (!pool_.let_go(block)) return;
  if (tree_ && tree_->contains(block)) {
    tree_->make_idle(block);
  } else {
    pool_.give_back(block);
  }
}

void Ledger::check_integrity() const {
  std::vector<int32_t> holders(static_cast<size_t>(pool_.size()), 0);
  for (const auto& [sequence, table] : tables_) {
    for (const BlockId block : table.blocks) ++holders[static_cast<size_t>(block.value)];
    CHECK(table.stored <= table.size() * block_tokens_, "sequence {} lacks blocks", sequence);
    CHECK(table.published * block_tokens_ <= table.stored, "sequence {} published too much",
          sequence);
    for (int64_t i = 0; i < table.published; ++i) {
      CHECK(tree_->contains(table.blocks[static_cast<size_t>(i)]),
            "sequence {} holds a published block that is not in the tree", sequence);
    }
  }
  for (const PendingCopy& copy : copies_) ++holders[static_cast<size_t>(copy.from.value)];
  pool_.check_integrity(holders, tree_ ? tree_->idle() : 0);
  if (tree_) tree_->check_integrity(holders);
}

}  // namespace millrace
