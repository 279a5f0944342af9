#include <algorithm>
#include <atomic>
#include <limits>

#include <absl/functional/function_ref.h>

#include "base/check.h"
#include "kernels/attention_kernels.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

namespace millrace::ops {
namespace {

// Rows of a slice go through the keys together so that a tile of keys is converted once for all
// their vectors: as many as make this many vectors. At 48, bringing a tile into vectors was 17 % of
// the work of a long prompt; at 96 all their states still stay in the second level cache.
constexpr int32_t kVectorsMin = 96;

constexpr int64_t kCacheLine = 64;

// Splits that a row reads at most: of the whole cache, or of its keys at their least convenient
// place.
int64_t splits_max(const AttentionShape& shape, const KvLayer& cache) {
  const int64_t all = (cache.blocks * cache.block_tokens + kKeySplit - 1) / kKeySplit;
  return shape.keys_max > 0 ? std::min<int64_t>(all, shape.keys_max / kKeySplit + 2) : all;
}

// Where a call's working memory lies: a counter for each lane, a cache line apart, then each lane's
// states and what attend() needs.
class AttentionMemory {
 public:
  AttentionMemory(const AttentionShape& shape, const KvLayer& cache, int lanes)
      : heads_(shape.query_heads / cache.heads),
        vectors_(item_rows() * heads_),
        splits_(splits_max(shape, cache)),
        key_dim_(cache.key_dim),
        value_dim_(cache.value_dim),
        padded_(padded_head_dim(cache.value_dim)),
        lanes_(lanes) {}

  int32_t heads() const { return heads_; }  // query heads of a K/V head
  int32_t item_rows() const { return std::clamp(kVectorsMin / heads_, 1, kKeyTile); }
  int64_t splits() const { return splits_; }  // that a row of which lanes share reads at most
  int64_t bytes() const {
    return lanes_ * (kCacheLine + lane_floats() * static_cast<int64_t>(sizeof(float)));
  }
  void place(std::byte* memory) { memory_ = memory; }

  // Splits done of the row that the lane was the first to work on.
  std::atomic_ref<int32_t> done(int64_t lane) const {
    return std::atomic_ref(*reinterpret_cast<int32_t*>(memory_ + lane * kCacheLine));
  }
  // The split at hand, and all splits of an item so far.
  SoftmaxState split(int64_t lane) const { return state(lane_memory(lane), vectors_); }
  SoftmaxState total(int64_t lane) const {
    return state(lane_memory(lane) + state_floats(vectors_), vectors_);
  }
  // Split `i` of those that the lane did of a row that another lane began.
  SoftmaxState later(int64_t lane, int32_t i) const {
    return state(lane_memory(lane) + 2 * state_floats(vectors_) + i * state_floats(heads_), heads_);
  }
  float* attend_memory(int64_t lane) const {
    return lane_memory(lane + 1) - attend_floats(vectors_, key_dim_, value_dim_);
  }

 private:
  int64_t state_floats(int64_t vectors) const {
    return vectors * padded_ + padded_head_dim(2 * vectors);
  }
  int64_t lane_floats() const {
    return 2 * state_floats(vectors_) + splits_ * state_floats(heads_) +
           attend_floats(vectors_, key_dim_, value_dim_);
  }
  float* lane_memory(int64_t lane) const {
    return reinterpret_cast<float*>(memory_ + lanes_ * kCacheLine) + lane * lane_floats();
  }
  SoftmaxState state(float* memory, int64_t vectors) const {
    float* sums = memory + vectors * padded_;
    return {.max = sums, .sum = sums + vectors, .out = memory};
  }

  int32_t heads_;
  int32_t vectors_;  // of an item, at most
  int64_t splits_;   // of a row, at most
  int64_t key_dim_;
  int64_t value_dim_;
  int64_t padded_;
  int64_t lanes_;
  std::byte* memory_ = nullptr;
};

constexpr int32_t kNoSplit = std::numeric_limits<int32_t>::max();

// Neighbouring rows of one slice and one K/V head.
struct Item {
  const AttentionSlice& slice;
  int32_t row;  // the first, in the batch
  int32_t rows;
  int32_t head;
  const KeyRanges& keys;

  // The first split from `from` on that a row reads; kNoSplit: none.
  int32_t split_from(int32_t from) const {
    int32_t next = kNoSplit;
    for (int32_t i = row; i < row + rows; ++i) {
      const auto ranges = keys.of(i);
      const auto range = std::ranges::find_if(
          ranges, [&](const KeyRange& keys_of) { return keys_of.end > from * kKeySplit; });
      if (range != ranges.end()) next = std::min(next, std::max(from, range->begin / kKeySplit));
    }
    return next;
  }
  // What several lanes may do each: a row's splits, but rows that share tiles together.
  int32_t parts() const {
    if (rows > 1) return 1;
    int32_t count = 0;
    for (int32_t i = split_from(0); i != kNoSplit; i = split_from(i + 1)) ++count;
    return count;
  }
};

struct PartRange {
  int32_t begin;
  int32_t end;
  int32_t size() const { return end - begin; }
};

struct Call {
  const AttentionKernels& kernels;
  const AttentionRows& rows;
  const AttentionShape& shape;
  Rows<const float> queries;
  const KvLayer& cache;
  const AttentionMemory& memory;
  Rows<float> out;
};

// In one fixed order.
void for_each_item(const Call& call, absl::FunctionRef<void(const Item&)> visit) {
  const int32_t height = call.memory.item_rows();
  for (const AttentionSlice& slice : call.rows.slices) {
    for (int32_t first = 0; first < slice.rows; first += height) {
      const int32_t row = slice.row + first;
      for (int32_t head = 0; head < call.cache.heads; ++head) {
        visit({.slice = slice,
               .row = row,
               .rows = std::min(height, slice.rows - first),
               .head = head,
               .keys = *call.rows.keys});
      }
    }
  }
}

// Tiles that the last row reads times vectors; loading a tile costs about what three vectors do.
int64_t cost_of(const Call& call, const Item& item) {
  int64_t tiles = 0;
  for (const KeyRange& range : item.keys.of(item.row + item.rows - 1)) {
    tiles += (range.end - 1) / kKeyTile - range.begin / kKeyTile + 1;
  }
  return tiles * (item.rows * call.memory.heads() + 3);
}

// Which lane does which part of an item: the lanes divide the cost of all items evenly, in their
// order, and a part goes where its middle falls.
struct Division {
  int64_t before;  // cost of the items before
  int64_t cost;
  int64_t total;  // of all items
  int64_t lanes;
  int32_t parts;  // of equal cost

  int64_t owner(int32_t part) const {
    return (2 * parts * before + cost * (2 * part + 1)) * lanes / (2 * parts * total);
  }
  PartRange owned_by(int64_t lane) const { return {first_from(lane), first_from(lane + 1)}; }

 private:
  // The first part of lane `lane` or a later one.
  int32_t first_from(int64_t lane) const {
    int32_t first = 0;
    for (int32_t end = parts; first < end;) {
      const int32_t middle = first + (end - first) / 2;
      if (owner(middle) < lane) {
        first = middle + 1;
      } else {
        end = middle;
      }
    }
    return first;
  }
};

// An item's inputs and outputs as the kernels take them.
class Worker {
 public:
  Worker(const Call& call, const Item& item)
      : call_(call),
        item_(item),
        heads_(call.memory.heads()),
        cache_(kv_head(call.cache, numbers_of(item.slice.table), item.head)),
        queries_{.data = call.queries.row(item.row) + int64_t{first_head()} * call.cache.key_dim,
                 .row_stride = call.queries.stride,
                 .rows = item.rows,
                 .heads = heads_,
                 .ranges = item.keys.ranges.data(),
                 .starts = item.keys.starts.data() + item.row,
                 .positions = call.rows.positions.data() + item.row,
                 .path_slots = call.rows.paths == nullptr ? nullptr : call.rows.paths->slots.data(),
                 .path_starts = call.rows.paths == nullptr
                                    ? nullptr
                                    : call.rows.paths->starts.data() + item.row,
                 .scale = call.shape.scale,
                 .softcap = call.shape.softcap,
                 .slopes = call.shape.slopes.empty() ? nullptr
                                                     : call.shape.slopes.data() + first_head()} {}

  // The first parts, added up in the lane's total.
  void begin(int64_t lane, PartRange parts) const {
    const SoftmaxState total = call_.memory.total(lane);
    std::fill_n(total.max, vectors(), -std::numeric_limits<float>::infinity());
    std::fill_n(total.sum, vectors(), 0.0F);
    std::fill_n(total.out, vectors() * padded_head_dim(cache_.value_dim), 0.0F);
    for_each_split(parts, [&](int32_t, int32_t split) {
      attend(lane, split, call_.memory.split(lane));
      add(call_.memory.split(lane), total);
    });
  }
  // Parts of a row that another lane begins, each by itself.
  void go_on(int64_t lane, PartRange parts) const {
    for_each_split(parts, [&](int32_t part, int32_t split) {
      attend(lane, split, call_.memory.later(lane, part - parts.begin));
    });
  }
  void add(const SoftmaxState& later, const SoftmaxState& total) const {
    call_.kernels.merge(later, vectors(), cache_.value_dim, total);
  }
  void finish(const SoftmaxState& total) const {
    for (int32_t vector = 0; vector < vectors(); ++vector) {
      const int32_t head = vector % heads_;
      call_.kernels.finish(total, vector, cache_.value_dim, sink_of(head),
                           call_.out.row(item_.row + vector / heads_) +
                               int64_t{first_head() + head} * cache_.value_dim);
    }
  }

 private:
  int32_t vectors() const { return item_.rows * heads_; }
  int32_t first_head() const { return item_.head * heads_; }
  float sink_of(int32_t head) const {
    const std::span<const float> sinks = call_.shape.sinks;
    return sinks.empty() ? -std::numeric_limits<float>::infinity()
                         : sinks[static_cast<size_t>(first_head() + head)];
  }
  void for_each_split(PartRange parts,
                      absl::FunctionRef<void(int32_t part, int32_t split)> visit) const {
    int32_t part = 0;
    for (int32_t split = item_.split_from(0); split != kNoSplit && part < parts.end; ++part) {
      if (part >= parts.begin) visit(part, split);
      split = item_.split_from(split + 1);
    }
  }
  void attend(int64_t lane, int32_t split, const SoftmaxState& state) const {
    call_.kernels.attend(cache_, queries_, split, call_.memory.attend_memory(lane), state);
  }

  const Call& call_;
  const Item& item_;
  int32_t heads_;
  KvHead cache_;
  QueryRows queries_;
};

// A row that several lanes work on. The lane that is done last merges, in ascending order, so that
// none waits.
void run_shared(const Call& call, const Item& item, const Division& division, int64_t lane,
                PartRange mine) {
  const Worker worker(call, item);
  const int64_t leader = division.owner(0);
  if (lane == leader) {
    worker.begin(lane, mine);
  } else {
    worker.go_on(lane, mine);
  }
  const std::atomic_ref<int32_t> done = call.memory.done(leader);
  if (done.fetch_add(mine.size(), std::memory_order_acq_rel) + mine.size() < division.parts) return;
  done.store(0, std::memory_order_relaxed);
  const SoftmaxState total = call.memory.total(leader);
  int64_t owner = leader;
  int32_t first = 0;  // of the owner's parts
  for (int32_t part = division.owned_by(leader).end; part < division.parts; ++part) {
    if (division.owner(part) != owner) {
      owner = division.owner(part);
      first = part;
    }
    worker.add(call.memory.later(owner, part - first), total);
  }
  worker.finish(total);
}

}  // namespace

int64_t attention_memory_bytes(const AttentionShape& shape, const KvLayer& cache, int lanes) {
  return AttentionMemory(shape, cache, lanes).bytes();
}

void CpuOps::attention(Lane& lane, const AttentionRows& rows, const AttentionShape& shape,
                       Rows<const float> queries, const KvLayer& cache, std::span<std::byte> memory,
                       Rows<float> out) const {
  CHECK(shape.query_heads % cache.heads == 0 && cache.key_dim <= kHeadDimMax &&
        cache.value_dim <= (cache.latent ? cache.key_dim : kHeadDimMax));
  CHECK(queries.width == int64_t{shape.query_heads} * cache.key_dim &&
        out.width == int64_t{shape.query_heads} * cache.value_dim);
  AttentionMemory layout(shape, cache, lane.count());
  CHECK(static_cast<int64_t>(memory.size()) >= layout.bytes());
  CHECK(std::ssize(rows.keys->starts) == queries.rows + 1);
  CHECK(rows.paths == nullptr || std::ssize(rows.paths->starts) == queries.rows + 1);
  CHECK(shape.sinks.empty() || std::ssize(shape.sinks) == shape.query_heads);
  CHECK(shape.slopes.empty() || std::ssize(shape.slopes) == shape.query_heads);
  layout.place(memory.data());
  const Call call = {*kernels_.attention, rows, shape, queries, cache, layout, out};
  Division division = {.before = 0, .cost = 0, .total = 0, .lanes = lane.count(), .parts = 1};
  for_each_item(call, [&](const Item& item) { division.total += cost_of(call, item); });
  lane.for_each_share(lane.count(), 1, [&](int owner, WorkRange) {
    division.before = 0;
    for_each_item(call, [&](const Item& item) {
      division.cost = cost_of(call, item);
      division.parts = item.parts();
      CHECK(division.parts <= layout.splits(), "{} splits of {}", division.parts, layout.splits());
      const PartRange mine = division.owned_by(owner);
      if (mine.size() == division.parts) {
        const Worker worker(call, item);
        worker.begin(owner, {0, kNoSplit});
        worker.finish(layout.total(owner));
      } else if (mine.size() > 0) {
        run_shared(call, item, division, owner, mine);
      }
      division.before += division.cost;
    });
  });
}

}  // namespace millrace::ops
