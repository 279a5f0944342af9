#include "models/packing/stream_plan.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <ranges>
#include <span>

#include "files/pack_file.h"
#include "tensor/huge_pages.h"

namespace millrace {
namespace {

// Long enough for a disk to reach its speed, and whole huge pages.
constexpr int64_t kUnitBytesMax = 2 * kHugePageBytes;
constexpr int64_t kUnitBytesMin = kPackChunkBytes;
// Read ahead of the part that is computed: what several threads have in hand, and as much again
// that is waiting when a part takes less time than usual.
constexpr int64_t kUnitsAhead = 8;
// The part of a limit that may be read ahead.
constexpr int64_t kAheadShare = 8;

bool lies_in(const MemoryRange& part, const MemoryRange& whole) {
  return part.begin >= whole.begin && part.end <= whole.end;
}
bool overlap(const MemoryRange& a, const MemoryRange& b) {
  return std::max(a.begin, b.begin) < std::min(a.end, b.end);
}

// One way to divide the memory.
class Layout {
 public:
  Layout(const MatrixMap& map, int64_t unit_bytes)
      : map_(map),
        unit_bytes_(unit_bytes),
        stays_(static_cast<size_t>((map.bytes + unit_bytes - 1) / unit_bytes)) {
    const MemoryRange layers = {map.layers.front().begin, map.layers.back().end};
    for (int64_t unit = 0; unit < std::ssize(stays_); ++unit) {
      const MemoryRange range = range_of(unit);
      if (lies_in(range, map.head)) {
        head_.push_back(unit);
      } else if (lies_in(range, layers)) {
        layers_.push_back(unit);
      } else if (!lies_in(range, map.embedding)) {
        stays_[static_cast<size_t>(unit)] = true;  // two of them would need it twice in a pass
      }
    }
  }

  void keep_head() {
    for (const int64_t unit : head_) stays_[static_cast<size_t>(unit)] = true;
    head_.clear();
  }
  // Units that could be read in each pass.
  int64_t readable() const { return std::ssize(layers_) + std::ssize(head_); }

  // With so many of the readable ones kept.
  StreamPlan plan(int64_t kept) const {
    StreamPlan plan;
    plan.unit_bytes = unit_bytes_;
    const int64_t total = readable();
    std::vector<bool> stays = stays_;
    for (int64_t i = 0; i < total; ++i) {
      const int64_t unit = i < std::ssize(layers_)
                               ? layers_[static_cast<size_t>(i)]
                               : head_[static_cast<size_t>(i - std::ssize(layers_))];
      // i * kept does not overflow: there is a byte of memory at least for each unit.
      if ((i + 1) * kept / total > i * kept / total) stays[static_cast<size_t>(unit)] = true;
    }
    for (int64_t unit = 0; unit < std::ssize(stays); ++unit) {
      if (stays[static_cast<size_t>(unit)]) plan.resident.push_back(unit);
    }
    plan.layers = reads_of(map_.layers, layers_, stays);
    const std::vector<MemoryRange> slices = slices_of_head(plan.head_slice_panels);
    plan.head = reads_of(slices, head_, stays);
    plan.embedding_stays =
        std::ranges::all_of(std::views::iota(map_.embedding.begin / unit_bytes_,
                                             (map_.embedding.end + unit_bytes_ - 1) / unit_bytes_),
                            [&](int64_t unit) { return stays[static_cast<size_t>(unit)]; });
    const int64_t most = std::max(most_at_once(plan.layers), most_at_once(plan.head));
    if (most > 0) plan.window = most + kUnitsAhead;
    return plan;
  }

 private:
  MemoryRange range_of(int64_t unit) const {
    return {unit * unit_bytes_, std::min((unit + 1) * unit_bytes_, map_.bytes)};
  }

  // So large that no slice needs more memory than a layer.
  std::vector<MemoryRange> slices_of_head(int64_t& panels) const {
    int64_t bytes = 0;
    for (const MemoryRange& layer : map_.layers) bytes = std::max(bytes, layer.size());
    if (head_.empty()) bytes = map_.head.size();
    panels = std::max<int64_t>(1, bytes / map_.head_panel_bytes);
    std::vector<MemoryRange> slices;
    const int64_t step = panels * map_.head_panel_bytes;
    for (int64_t at = map_.head.begin; at < map_.head.end; at += step) {
      slices.push_back({at, std::min(at + step, map_.head.end)});
    }
    return slices;
  }

  StreamPlan::Reads reads_of(std::span<const MemoryRange> parts, std::span<const int64_t> units,
                             const std::vector<bool>& stays) const {
    StreamPlan::Reads reads;
    auto unit = units.begin();
    for (int64_t part = 0; part < std::ssize(parts); ++part) {
      const MemoryRange& range = parts[static_cast<size_t>(part)];
      if (!reads.reads.empty() && overlap(range_of(reads.reads.back().unit), range)) {
        reads.reads.back().last_part = part;
      }
      for (; unit != units.end() && range_of(*unit).begin < range.end; ++unit) {
        if (!stays[static_cast<size_t>(*unit)]) reads.reads.push_back({*unit, part});
      }
      reads.needed.push_back(std::ssize(reads.reads));
    }
    return reads;
  }

  // Units that one part needs together.
  static int64_t most_at_once(const StreamPlan::Reads& reads) {
    int64_t most = 0;
    int64_t first = 0;
    for (int64_t part = 0; part < std::ssize(reads.needed); ++part) {
      while (first < std::ssize(reads.reads) &&
             reads.reads[static_cast<size_t>(first)].last_part < part) {
        ++first;
      }
      most = std::max(most, reads.needed[static_cast<size_t>(part)] - first);
    }
    return most;
  }

  const MatrixMap& map_;
  int64_t unit_bytes_;
  std::vector<bool> stays_;             // [units]
  std::vector<int64_t> layers_, head_;  // units that may be read
};

int64_t memory_of(const StreamPlan& plan) {
  return (std::ssize(plan.resident) + plan.window) * plan.unit_bytes;
}

// With as much kept as fits; none: not even the least does.
std::optional<StreamPlan> fitting(const Layout& layout, int64_t limit) {
  std::optional<StreamPlan> best;
  int64_t least = 0, most = layout.readable();
  while (least <= most) {
    const int64_t kept = std::midpoint(least, most);
    StreamPlan plan = layout.plan(kept);
    if (memory_of(plan) <= limit) {
      best = std::move(plan);
      least = kept + 1;
    } else {
      most = kept - 1;
    }
  }
  return best;
}

}  // namespace

absl::StatusOr<StreamPlan> plan_stream(const MatrixMap& map, int64_t vector_bytes,
                                       int64_t memory_max) {
  const int64_t limit = memory_max - vector_bytes;
  const int64_t wish = limit / (kAheadShare * kUnitsAhead);
  int64_t unit_bytes = std::clamp<int64_t>(
      static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(wish, 1)))),
      kUnitBytesMin, kUnitBytesMax);
  for (; unit_bytes >= kUnitBytesMin; unit_bytes /= 2) {
    // A head that stays is there for every head() of a pass, and for the embedding that it may be.
    Layout with_head(map, unit_bytes);
    with_head.keep_head();
    for (const Layout& layout : {with_head, Layout(map, unit_bytes)}) {
      if (auto plan = fitting(layout, limit)) return *std::move(plan);
    }
  }
  return resource_exhausted(
      "{} bytes of memory for weights are too few: this model needs {} at least", memory_max,
      vector_bytes + memory_of(Layout(map, kUnitBytesMin).plan(0)));
}

}  // namespace millrace
