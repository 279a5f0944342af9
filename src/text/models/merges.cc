#include "text/models/merges.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

constexpr uint32_t kNoOrder = Merges::kOrderMax + 1;

// Between asking memory for something and using it: about as many as a core can wait for at once.
constexpr size_t kAhead = 16;

}  // namespace

absl::Status MergeList::error(size_t index, std::string_view what) const {
  return invalid_argument("{}{}{}: {}", before_index, index, after_index, what);
}

// Adds joins in order, each some time after memory was asked for its place.
class Merges::Intake {
 public:
  explicit Intake(Merges& merges) : table_(merges.table_) {}
  ~Intake() {
    for (size_t i = kAhead; i > 0; --i, ++count_) place();
  }
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  void add(uint64_t key, Join join) {
    place();
    waiting_[count_++ % kAhead] = {key, join};
    table_.prefetch(key);
  }

 private:
  void place() {
    if (count_ < kAhead) return;
    const auto& [key, join] = waiting_[count_ % kAhead];
    table_.try_emplace(key, join);
  }

  absl::flat_hash_map<uint64_t, Join>& table_;
  std::array<std::pair<uint64_t, Join>, kAhead> waiting_ = {};
  size_t count_ = 0;
};

absl::Status Merges::read(const MergeList& list, std::string_view prefix, Find find, Expect expect,
                          MayBecome may_become) {
  table_.reserve(list.pairs.size());
  Intake intake(*this);
  std::string joined;
  // Where a vocabulary was made by joining, what the joins make stands in their order: comparing
  // with the next token costs a fraction of finding one among all.
  TokenId likely = kNoSymbol;
  for (size_t i = 0; i < list.pairs.size(); ++i) {
    if (i + kAhead < list.pairs.size()) {
      expect(list.pairs[i + kAhead].first);
      expect(list.pairs[i + kAhead].second);
    }
    const auto& [left, right] = list.pairs[i];
    joined.assign(left).append(right.substr(right.starts_with(prefix) ? prefix.size() : 0));
    const auto left_id = find(left, kNoSymbol);
    const auto right_id = find(right, kNoSymbol);
    const auto joined_id = find(joined, likely);
    if (!left_id) return list.error(i, "the vocabulary lacks the left token");
    if (!right_id) return list.error(i, "the vocabulary lacks the right token");
    if (!joined_id) return list.error(i, "the vocabulary lacks what they join to");
    likely = *joined_id + 1;
    if (!may_become(*joined_id)) continue;
    intake.add(key(*left_id, *right_id), {static_cast<uint32_t>(i), *joined_id});
  }
  return absl::OkStatus();
}

bool Merges::look_up(Word& word, uint32_t left) const {
  Word::Node& node = word.nodes_[left];
  node.order = kNoOrder;
  if (node.next >= word.nodes_.size()) return false;
  const auto found = table_.find(key(node.symbol, word.nodes_[node.next].symbol));
  if (found == table_.end()) return false;
  node.order = found->second.order;
  node.joined = found->second.symbol;
  return true;
}

void Merges::apply(Word& word) const {
  auto& nodes = word.nodes_;
  auto& heap = word.heap_;
  CHECK(nodes.size() < std::numeric_limits<uint32_t>::max(), "a word of {} symbols", nodes.size());
  const auto count = static_cast<uint32_t>(nodes.size());
  const auto item = [&nodes](uint32_t left) { return uint64_t{nodes[left].order} << 32 | left; };

  heap.clear();
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i].previous = i - 1;  // of the first one: beyond every index
    nodes[i].next = i + 1;
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (look_up(word, i)) heap.push_back(item(i));
  }
  std::ranges::make_heap(heap, std::greater<>());
  const auto propose = [&](uint32_t left) {
    if (left >= count || !look_up(word, left)) return;
    heap.push_back(item(left));
    std::ranges::push_heap(heap, std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t top = heap.front();
    std::ranges::pop_heap(heap, std::greater<>());
    heap.pop_back();
    const auto left = static_cast<uint32_t>(top);
    Word::Node& node = nodes[left];
    if (item(left) != top) continue;  // one of the two has joined another since
    Word::Node& gone = nodes[node.next];
    node.symbol = node.joined;
    node.next = gone.next;
    gone.order = kNoOrder;
    if (node.next < count) nodes[node.next].previous = left;
    propose(node.previous);
    propose(left);
  }
}

}  // namespace millrace
