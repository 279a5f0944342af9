#include <algorithm>

#include "base/check.h"
#include "kv/ledger.h"

namespace millrace {

// The last place of a kind is worth most: there is no room for all.
void Ledger::take_snapshots(int64_t rows, SequenceTable& table) {
  if (!tree_ || !keeps_states()) return;
  const int64_t end = table.computed + rows;
  const int64_t kept = rule_.last_kept(table.prompt, end);
  for (int64_t at = kept; at > table.computed; at = rule_.last_kept(table.prompt, at - 1)) {
    take_snapshot(at, /*moves=*/false, table);
  }
  std::ranges::reverse(table.snapshots);
  const int64_t last = rule_.last_block_end(end);
  if (last > std::max(kept, table.computed)) take_snapshot(last, /*moves=*/true, table);
}

// A snapshot that moves goes on with its sequence from block to block, so that the end of an answer
// is findable and little is lost by preemption. It takes the place of the one before; those of all
// sequences leave some for others.
void Ledger::take_snapshot(int64_t tokens, bool moves, SequenceTable& table) {
  if (moves) {
    drop_moving(table);
    if (pools_.free(state_group_) == 0 && pools_.idle(state_group_) <= sequences()) return;
  }
  const BlockId unit = pools_.take(state_group_);
  if (unit.valid()) table.snapshots.push_back({tokens, unit, moves});
}

void Ledger::drop_moving(SequenceTable& table) {
  if (!table.moving.valid()) return;
  const BlockId unit = tree_->unit(table.moving, state_group_);
  if (unit.valid() && tree_->is_idle(state_group_, unit)) {
    pools_.drop(state_group_, unit, table.moving);
  }
  table.moving = {};
}

void Ledger::publish(const Sequence& sequence, SequenceTable& table) {
  auto snapshot = table.snapshots.begin();
  while (table.published < blocks_to_publish(table)) {
    const NodeId node = next_node(sequence, table);
    if (!node.valid()) break;
    tree_->add_tail(node);
    if (table.tail.valid()) tree_->remove_tail(table.tail);
    table.tail = node;
    share_units(table, table.published++);
    const int64_t end = table.published * block_tokens_;
    if (snapshot != table.snapshots.end() && snapshot->tokens == end) {
      keep_snapshot(*snapshot++, table);
    }
  }
  for (; snapshot != table.snapshots.end(); ++snapshot) {
    pools_.let_go(state_group_, snapshot->unit);
  }
  table.snapshots.clear();
}

// Where only states are kept, nodes lead to snapshots and serve nothing else.
int64_t Ledger::blocks_to_publish(const SequenceTable& table) const {
  if (group_count() > 1 || !keeps_states()) return table.stored / block_tokens_;
  return table.snapshots.empty() ? 0 : table.snapshots.back().tokens / block_tokens_;
}

// Of the first block that has none yet. When the tree is full, what is idle makes room; invalid:
// it could not.
NodeId Ledger::next_node(const Sequence& sequence, const SequenceTable& table) {
  const auto tokens = tokens_from(sequence, table.published * block_tokens_, block_tokens_);
  const auto insert = [&] {
    return tree_->insert(table.tail, sequence.request->cache_salt, tokens);
  };
  NodeId node = insert();
  for (int32_t g = 0; g < group_count(); ++g) {
    for (; !node.valid() && pools_.idle(g) > 0; node = insert()) pools_.evict(g);
  }
  return node;
}

// Makes the tail's units and those of this block the same.
void Ledger::share_units(SequenceTable& table, int64_t block) {
  for (int32_t g = 0; g < group_count(); ++g) {
    if (is_state(g) || block < table.at(g).given_back) continue;
    BlockId& own = table.at(g).at(block);
    const BlockId other = tree_->unit(table.tail, g);
    if (other == own) continue;
    if (!other.valid()) {
      tree_->set_unit(table.tail, g, own);
      continue;
    }
    // Another sequence computed the same tokens: equal bits, so one block is enough.
    pools_.hold(g, other);
    pools_.let_go(g, own);
    own = other;
  }
}

void Ledger::keep_snapshot(const Snapshot& snapshot, SequenceTable& table) {
  if (!tree_->unit(table.tail, state_group_).valid()) {
    tree_->set_unit(table.tail, state_group_, snapshot.unit);
  }
  pools_.let_go(state_group_, snapshot.unit);
  if (snapshot.moves) table.moving = table.tail;
}

void Ledger::check_integrity() const {
  std::vector<std::vector<int32_t>> holders;  // [groups, units]
  for (const KvGroup& group : groups_) holders.emplace_back(static_cast<size_t>(group.units), 0);
  const auto count = [&](int32_t g, BlockId unit) {
    ++holders[static_cast<size_t>(g)][static_cast<size_t>(unit.value)];
  };
  std::vector<int32_t> tails;  // [nodes]
  for (const auto& [sequence, table] : tables_) {
    check_table(sequence, table);
    for (int32_t g = 0; g < group_count(); ++g) {
      for (const BlockId unit : table.at(g).units) {
        if (unit.valid()) count(g, unit);
      }
    }
    for (const Snapshot& snapshot : table.snapshots) count(state_group_, snapshot.unit);
    if (table.before_draft.valid()) count(state_group_, table.before_draft);
    if (!table.tail.valid()) continue;
    const auto tail = static_cast<size_t>(table.tail.value);
    tails.resize(std::max(tails.size(), tail + 1));
    ++tails[tail];
  }
  for (const PendingCopy& pending : copies_) count(pending.copy.group, pending.copy.from);
  pools_.check_integrity(holders);
  if (tree_) tree_->check_integrity(holders, tails);
}

void Ledger::check_table(SeqId sequence, const SequenceTable& table) const {
  CHECK(table.stored <= table.blocks * block_tokens_, "sequence {} lacks blocks", sequence);
  CHECK(table.published * block_tokens_ <= table.stored, "sequence {} published too much",
        sequence);
  for (int32_t g = 0; g < group_count(); ++g) {
    const GroupTable& held = table.at(g);
    const int64_t units = is_state(g) ? 1 : table.blocks;
    CHECK(std::ssize(held.units) == units, "sequence {} has {} units of {} in group {}", sequence,
          held.units.size(), units, g);
    for (int64_t i = 0; i < units; ++i) {
      CHECK(held.at(i).valid() == (i >= held.given_back),
            "sequence {} holds block {} of group {} or gave it back", sequence, i, g);
    }
  }
  NodeId node = table.tail;
  for (int64_t block = table.published; --block >= 0; node = tree_->parent(node)) {
    CHECK(node.valid(), "the path of sequence {} is too short", sequence);
    for (int32_t g = 0; g < group_count(); ++g) {
      if (is_state(g) || block < table.at(g).given_back) continue;
      CHECK(tree_->unit(node, g) == table.at(g).at(block),
            "block {} of sequence {} is not its node's", block, sequence);
    }
  }
  CHECK(!node.valid(), "the path of sequence {} is too long", sequence);
}

}  // namespace millrace
