#include "kv/ledger.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

int32_t find_state_group(std::span<const KvGroup> groups) {
  const auto found = std::ranges::find(groups, KvKind::kState, &KvGroup::kind);
  return found == groups.end() ? -1 : static_cast<int32_t>(found - groups.begin());
}

}  // namespace

absl::Status Ledger::supports(std::span<const KvGroup> groups) {
  if (groups.empty()) return invalid_argument("the executor keeps nothing of a sequence");
  for (const KvGroup& group : groups) {
    if (group.block_tokens != block_tokens_of(groups)) {
      return unimplemented("groups of layers with blocks of {} and {} tokens",
                           block_tokens_of(groups), group.block_tokens);
    }
    if (group.block_tokens < 1 || group.units < 1 || group.window < 0) {
      return invalid_argument("the cache has {} units of {} tokens, and a window of {}",
                              group.units, group.block_tokens, group.window);
    }
  }
  if (std::ranges::count(groups, KvKind::kState, &KvGroup::kind) > 1) {
    return unimplemented("two groups of states");
  }
  return absl::OkStatus();
}

int64_t Ledger::longest_sequence(std::span<const KvGroup> groups) {
  constexpr int64_t kForEver = std::numeric_limits<int64_t>::max();
  int64_t longest = kForEver;
  for (const KvGroup& group : groups) {
    const int64_t tokens = group.units * group.block_tokens;
    const bool bounds =
        group.kind == KvKind::kTokens && blocks_per_sequence(group, 1, tokens + 1) > group.units;
    if (bounds) longest = std::min(longest, tokens);
  }
  return longest;
}

Ledger::Ledger(std::span<const KvGroup> groups, LedgerOptions options)
    : groups_(groups.begin(), groups.end()),
      block_tokens_(block_tokens_of(groups)),
      state_group_(find_state_group(groups)),
      rule_(options.state_snapshot_tokens, block_tokens_),
      tree_(options.prefix_caching ? std::make_unique<PrefixTree>(groups, options.nodes_max)
                                   : nullptr),
      pools_(groups, tree_.get()) {}

int64_t Ledger::place(Sequence& sequence, int64_t want, const UnitCounts& spare) {
  const auto [found, opens] = tables_.try_emplace(sequence.id);
  SequenceTable& table = found->second;
  if (opens && !open(sequence, table, spare)) {
    release(sequence.id);
    return 0;
  }
  table.computed = sequence.computed;
  table.prompt = sequence.prompt();
  table.rows = grow(sequence, std::min(want, sequence.pending()), table);
  return table.rows;
}

int64_t Ledger::grow(const Sequence& sequence, int64_t rows, SequenceTable& table) {
  const int64_t end = sequence.computed + rows;
  if (end <= table.stored) return rows;
  if (!make_writable(sequence.id, table)) return table.stored - sequence.computed;
  while (table.blocks < blocks_for(end) && add_block(table)) {
  }
  return std::min(end, table.blocks * block_tokens_) - sequence.computed;
}

int64_t Ledger::place_draft(SeqId sequence, int64_t rows) {
  SequenceTable& table = tables_.at(sequence);
  if (keeps_states()) {
    table.before_draft = pools_.take(state_group_);
    if (!table.before_draft.valid()) return 0;
  }
  const int64_t known = table.computed + table.rows;
  while (table.blocks < blocks_for(known + rows) && add_block(table)) {
  }
  table.draft_rows = std::min(rows, table.blocks * block_tokens_ - known);
  if (table.draft_rows == 0 && table.before_draft.valid()) {
    pools_.let_go(state_group_, std::exchange(table.before_draft, {}));
  }
  return table.draft_rows;
}

bool Ledger::open(Sequence& sequence, SequenceTable& table, const UnitCounts& spare) {
  const UsablePrefix prefix = usable_prefix(sequence);
  table = table_of(prefix);
  if (table.tail.valid()) tree_->add_tail(table.tail);
  for (int32_t g = 0; g < group_count(); ++g) {
    for (const BlockId unit : table.at(g).units) {
      if (unit.valid()) pools_.hold(g, unit);
    }
  }
  for (int32_t g = 0; g < group_count(); ++g) {
    if (missing(table, g, sequence.known()) + spare[g] > pools_.available(g)) return false;
  }
  if (keeps_states()) {
    begin_state(sequence.id, prefix, table);
  } else if (tree_) {
    copy_partial_block(sequence, table);
  }
  sequence.computed = std::min(table.stored, sequence.skippable());
  if (sequence.cached < 0) sequence.cached = std::min(sequence.computed, sequence.prompt());
  return true;
}

UsablePrefix Ledger::usable_prefix(const Sequence& sequence) const {
  return tree_ ? find_usable_prefix(*tree_, groups_, sequence) : UsablePrefix();
}

SequenceTable Ledger::table_of(const UsablePrefix& prefix) const {
  SequenceTable table;
  table.blocks = table.published = prefix.tokens / block_tokens_;
  table.stored = prefix.tokens;
  table.tail = prefix.node;
  for (int32_t g = 0; g < group_count(); ++g) {
    GroupTable& held = table.groups.emplace_back();
    if (is_state(g)) continue;
    held.units.resize(static_cast<size_t>(table.blocks));
    held.given_back = reads_from(group(g), prefix.skippable) / block_tokens_;
    NodeId node = prefix.node;
    for (int64_t block = table.blocks; --block >= held.given_back; node = tree_->parent(node)) {
      held.at(block) = tree_->unit(node, g);
    }
  }
  return table;
}

// Units that it has yet to be given until it knows so many tokens. Behind a window those that it
// gives back on the way serve again.
int64_t Ledger::missing(const SequenceTable& table, int32_t g, int64_t tokens) const {
  const int64_t ahead = blocks_for(tokens) - table.at(g).given_back;
  const int64_t at_once = std::min(ahead, blocks_per_sequence(group(g), 1, tokens));
  return std::max<int64_t>(at_once - table.at(g).held(), 0);
}

// Begins with the tokens of a node that agrees as far as it goes.
void Ledger::copy_partial_block(const Sequence& sequence, SequenceTable& table) {
  const int64_t rest = std::min(block_tokens_, sequence.known() - table.stored);
  const auto match = tree_->best_child(table.tail, sequence.request->cache_salt,
                                       tokens_from(sequence, table.stored, rest));
  const int64_t tokens = std::min(match.tokens, sequence.skippable() - table.stored);
  if (tokens <= 0) return;
  for (int32_t g = 0; g < group_count(); ++g) {
    // The copy's source counts as taken until the copy is made.
    const bool has_room = missing(table, g, sequence.known()) < pools_.available(g);
    if (!tree_->unit(match.node, g).valid() || !has_room) return;
  }
  for (int32_t g = 0; g < group_count(); ++g) {
    table.at(g).units.push_back(take_copy(sequence.id, g, tree_->unit(match.node, g), tokens));
  }
  ++table.blocks;
  table.stored += tokens;
}

void Ledger::begin_state(SeqId sequence, const UsablePrefix& prefix, SequenceTable& table) {
  BlockId unit;
  if (prefix.node.valid()) {
    const BlockId snapshot = tree_->unit(prefix.node, state_group_);
    unit = take_copy(sequence, state_group_, snapshot, 0);
    if (!unit.valid()) {
      // Nothing else is left: the snapshot becomes the sequence's own.
      pools_.hold(state_group_, snapshot);
      tree_->clear_unit(prefix.node, state_group_);
      unit = snapshot;
    }
  } else {
    unit = pools_.take(state_group_);
  }
  table.at(state_group_).units = {unit};
}

bool Ledger::add_block(SequenceTable& table) {
  for (int32_t g = 0; g < group_count(); ++g) {
    if (!is_state(g) && pools_.available(g) == 0) return false;
  }
  for (int32_t g = 0; g < group_count(); ++g) {
    if (!is_state(g)) table.at(g).units.push_back(pools_.take(g));
  }
  ++table.blocks;
  return true;
}

// What the next row changes; invalid: it needs a new block.
BlockId Ledger::unit_to_write(const SequenceTable& table, int32_t g) const {
  if (is_state(g)) return table.at(g).at(0);
  const int64_t block = table.stored / block_tokens_;
  return block < table.blocks ? table.at(g).at(block) : BlockId{};
}

int64_t Ledger::holding_sequences(int32_t g, BlockId unit) const {
  return pools_.holders(g, unit) - std::ranges::count_if(copies_, [&](const PendingCopy& pending) {
           return pending.copy.group == g && pending.copy.from == unit;
         });
}

// Units without which the next row cannot be computed.
int64_t Ledger::needed_to_write(const SequenceTable& table, int32_t g) const {
  const BlockId unit = unit_to_write(table, g);
  return !unit.valid() || holding_sequences(g, unit) > 1 ? 1 : 0;
}

// The writer of a unit that other sequences hold goes on in a copy. The last of them writes in
// place: the copies are made before the rows that it computes, which come after what they copy.
bool Ledger::make_writable(SeqId sequence, SequenceTable& table) {
  for (int32_t g = 0; g < group_count(); ++g) {
    if (needed_to_write(table, g) > pools_.available(g)) return false;
  }
  for (int32_t g = 0; g < group_count(); ++g) {
    const BlockId unit = unit_to_write(table, g);
    if (!unit.valid() || needed_to_write(table, g) == 0) continue;
    const int64_t block = is_state(g) ? 0 : table.stored / block_tokens_;
    table.at(g).at(block) = take_copy(sequence, g, unit, table.stored % block_tokens_);
    pools_.let_go(g, unit);
  }
  return true;
}

BlockId Ledger::take_copy(SeqId sequence, int32_t g, BlockId from, int64_t tokens) {
  pools_.hold(g, from);
  const BlockId to = pools_.take(g);
  if (to.valid()) {
    copies_.push_back({sequence, {g, from, to, static_cast<int32_t>(tokens)}});
  } else {
    pools_.let_go(g, from);
  }
  return to;
}

UnitCounts Ledger::reserve(const Sequence& sequence) const {
  UnitCounts units;
  const auto found = tables_.find(sequence.id);
  if (found == tables_.end()) return units;
  for (int32_t g = 0; g < group_count(); ++g) {
    const int64_t next = is_state(g) ? needed_to_write(found->second, g) : 1;
    units.add(g, std::max(missing(found->second, g, sequence.known()), next));
  }
  return units;
}

bool Ledger::has_room_without(std::span<Sequence* const> holders, const Sequence& sequence,
                              const UnitCounts& spare) const {
  const auto found = tables_.find(sequence.id);
  const bool is_new = found == tables_.end();
  const SequenceTable begun = is_new ? table_of(usable_prefix(sequence)) : SequenceTable();
  for (int32_t g = 0; g < group_count(); ++g) {
    int64_t room = pools_.available(g);
    absl::flat_hash_map<BlockId, int64_t> holders_left;  // of units that it holds or will
    if (is_new) {
      for (const BlockId unit : begun.at(g).units) {
        if (!unit.valid()) continue;
        if (pools_.holders(g, unit) == 0) --room;
        holders_left[unit] = pools_.holders(g, unit) + 1;
      }
    } else if (const BlockId unit = unit_to_write(found->second, g); unit.valid()) {
      // One that it comes to hold alone needs no copy.
      holders_left[unit] = holding_sequences(g, unit) - 1;
    }
    for (const Sequence* holder : holders) {
      for (const BlockId unit : tables_.at(holder->id).at(g).units) {
        if (!unit.valid()) continue;
        int64_t& left = holders_left.try_emplace(unit, pools_.holders(g, unit)).first->second;
        if (--left == 0) ++room;
      }
    }
    const int64_t needed =
        is_new ? missing(begun, g, sequence.known()) + spare[g] : needed_to_write(found->second, g);
    if (room < needed) return false;
  }
  return true;
}

void Ledger::settle(Sequence& sequence, int64_t agreed) {
  SequenceTable& table = tables_.at(sequence.id);
  keep_draft(sequence, agreed, table);
  if (tree_) publish(sequence, table);
  give_back_unused(table);
  give_back_unread(table, sequence.computed);
}

void Ledger::keep_draft(Sequence& sequence, int64_t agreed, SequenceTable& table) {
  CHECK(agreed <= table.draft_rows, "{} of {} rows of a draft", agreed, table.draft_rows);
  table.stored = std::max(table.stored, sequence.computed + agreed);
  if (table.before_draft.valid()) {
    // The state after the draft, or the one before it, is not needed any more.
    if (agreed < table.draft_rows) std::swap(table.at(state_group_).at(0), table.before_draft);
    pools_.let_go(state_group_, std::exchange(table.before_draft, {}));
  }
  if (!keeps_states() || agreed == table.draft_rows) sequence.computed += agreed;
  table.draft_rows = 0;
}

void Ledger::give_back_unused(SequenceTable& table) {
  for (; table.blocks > blocks_for(table.stored); --table.blocks) {
    for (int32_t g = 0; g < group_count(); ++g) {
      if (is_state(g)) continue;
      pools_.let_go(g, table.at(g).units.back());
      table.at(g).units.pop_back();
    }
  }
}

void Ledger::give_back_unread(SequenceTable& table, int64_t computed) {
  for (int32_t g = 0; g < group_count(); ++g) {
    GroupTable& held = table.at(g);
    const int64_t behind = reads_from(group(g), computed) / block_tokens_;
    for (; held.given_back < behind; ++held.given_back) {
      BlockId& unit = held.at(held.given_back);
      pools_.let_go(g, unit);
      unit = {};
    }
  }
}

void Ledger::fork(SeqId parent, SeqId child) {
  SequenceTable table = tables_.at(parent);
  CHECK(table.snapshots.empty(), "sequence {} is forked within a step", parent);
  table.moving = {};
  if (table.tail.valid()) tree_->add_tail(table.tail);
  for (int32_t g = 0; g < group_count(); ++g) {
    for (const BlockId unit : table.at(g).units) {
      if (unit.valid()) pools_.hold(g, unit);
    }
  }
  const bool fresh = tables_.try_emplace(child, std::move(table)).second;
  CHECK(fresh, "sequence {} is forked but holds units", child);
}

void Ledger::preempt(Sequence& sequence) {
  release(sequence.id);
  sequence.computed = 0;
  ++sequence.preemptions;
  look_up(sequence);
}

void Ledger::release(SeqId sequence) {
  const auto found = tables_.find(sequence);
  if (found == tables_.end()) return;
  std::erase_if(copies_, [&](const PendingCopy& pending) {
    if (pending.sequence == sequence) pools_.let_go(pending.copy.group, pending.copy.from);
    return pending.sequence == sequence;
  });
  SequenceTable& table = found->second;
  for (const Snapshot& snapshot : table.snapshots) pools_.let_go(state_group_, snapshot.unit);
  if (table.before_draft.valid()) pools_.let_go(state_group_, table.before_draft);
  for (int32_t g = 0; g < group_count(); ++g) {
    // The deepest first, as the prefix tree asks.
    std::vector<BlockId>& units = table.at(g).units;
    for (; !units.empty() && units.back().valid(); units.pop_back()) pools_.let_go(g, units.back());
  }
  if (table.tail.valid()) tree_->remove_tail(table.tail);
  tables_.erase(found);
}

void Ledger::drain(Batch& batch) {
  batch.tables.resize(groups_.size());
  for (int32_t i = 0; i < std::ssize(batch.slices); ++i) {
    SliceHead& slice = batch.slices[static_cast<size_t>(i)];
    SequenceTable& table = tables_.at(slice.sequence);
    slice.write_from = static_cast<int32_t>(table.stored);
    for (int32_t g = 0; g < group_count(); ++g) {
      Csr<BlockId>& rows = batch.tables[static_cast<size_t>(g)];
      const std::vector<BlockId>& units = table.at(g).units;
      rows.values.insert(rows.values.end(), units.begin(), units.end());
      rows.close_row();
    }
    const int32_t known_rows = slice.rows - slice.draft_rows;
    take_snapshots(known_rows, table);
    for (const Snapshot& snapshot : table.snapshots) {
      batch.saves.push_back(
          {i, static_cast<int32_t>(snapshot.tokens - table.computed), snapshot.unit});
    }
    if (table.before_draft.valid()) batch.saves.push_back({i, known_rows, table.before_draft});
  }
  for (const PendingCopy& pending : copies_) {
    batch.copies.push_back(pending.copy);
    pools_.let_go(pending.copy.group, pending.copy.from);
  }
  copies_.clear();
}

void Ledger::look_up(Sequence& sequence) const {
  sequence.findable = usable_prefix(sequence).skippable;
}

bool Ledger::will_share(const Sequence& newcomer, const Sequence& running) const {
  const bool can_share =
      tree_ && newcomer.request->cache_salt == running.request->cache_salt && !holds(newcomer.id);
  if (!can_share) return false;
  const auto end = std::ranges::mismatch(newcomer.tokens, running.tokens).in1;
  const int64_t agree = std::min(end - newcomer.tokens.begin(), newcomer.skippable());
  const int64_t findable =
      keeps_states() ? rule_.last_kept(running.prompt(), agree) : rule_.last_block_end(agree);
  return findable > running.computed;
}

}  // namespace millrace
