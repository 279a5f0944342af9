#include "models/packing/stream_plan.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <span>

#include "files/pack_file.h"
#include "tensor/huge_pages.h"

namespace millrace {
namespace {

// Long enough for a disk to reach its speed, and whole huge pages.
constexpr int64_t kSegmentBytesMax = 2 * kHugePageBytes;
constexpr int64_t kSegmentBytesMin = kPackChunkBytes;
// Read ahead of the part that is computed: what several threads have in hand, and as much again
// that is waiting when a part takes less time than usual.
constexpr int64_t kSegmentsAhead = 8;
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
  Layout(const MatrixMap& map, int64_t segment_bytes)
      : map_(map),
        segment_bytes_(segment_bytes),
        stays_(static_cast<size_t>((map.bytes + segment_bytes - 1) / segment_bytes)) {
    const MemoryRange layers = {map.layers.front().begin, map.layers.back().end};
    for (int64_t segment = 0; segment < std::ssize(stays_); ++segment) {
      const MemoryRange range = range_of(segment);
      if (lies_in(range, map.head)) {
        head_.push_back(segment);
      } else if (lies_in(range, layers)) {
        layers_.push_back(segment);
      } else if (!lies_in(range, map.embedding)) {
        stays_[static_cast<size_t>(segment)] = true;  // two of them would need it twice in a pass
      }
    }
  }

  void keep_head() {
    for (const int64_t segment : head_) stays_[static_cast<size_t>(segment)] = true;
    head_.clear();
  }
  // Segments that could be read in each pass.
  int64_t readable() const { return std::ssize(layers_) + std::ssize(head_); }

  // With so many of the readable ones kept.
  StreamPlan plan(int64_t kept) const {
    StreamPlan plan;
    plan.segment_bytes = segment_bytes_;
    const int64_t total = readable();
    std::vector<bool> stays = stays_;
    for (int64_t i = 0; i < total; ++i) {
      const int64_t segment = i < std::ssize(layers_)
                                  ? layers_[static_cast<size_t>(i)]
                                  : head_[static_cast<size_t>(i - std::ssize(layers_))];
      // i * kept does not overflow: there is a byte of memory at least for each segment.
      if ((i + 1) * kept / total > i * kept / total) stays[static_cast<size_t>(segment)] = true;
    }
    for (int64_t segment = 0; segment < std::ssize(stays); ++segment) {
      if (stays[static_cast<size_t>(segment)]) plan.resident.push_back(segment);
    }
    plan.layers = reads_of(map_.layers, layers_, stays);
    const std::vector<MemoryRange> parts = parts_of_head(plan.head_part_panels);
    plan.head = reads_of(parts, head_, stays);
    const auto first = stays.begin() + map_.embedding.begin / segment_bytes_;
    const auto last = stays.begin() + (map_.embedding.end + segment_bytes_ - 1) / segment_bytes_;
    plan.embedding_stays = std::find(first, last, false) == last;
    const int64_t most = std::max(most_at_once(plan.layers), most_at_once(plan.head));
    if (most > 0) plan.transient = most + kSegmentsAhead;
    return plan;
  }

 private:
  MemoryRange range_of(int64_t segment) const {
    return {segment * segment_bytes_, std::min((segment + 1) * segment_bytes_, map_.bytes)};
  }

  // So large that no part needs more memory than a layer.
  std::vector<MemoryRange> parts_of_head(int64_t& panels) const {
    int64_t bytes = 0;
    for (const MemoryRange& layer : map_.layers) bytes = std::max(bytes, layer.size());
    if (head_.empty()) bytes = map_.head.size();
    panels = std::max<int64_t>(1, bytes / map_.head_panel_bytes);
    std::vector<MemoryRange> parts;
    const int64_t step = panels * map_.head_panel_bytes;
    for (int64_t at = map_.head.begin; at < map_.head.end; at += step) {
      parts.push_back({at, std::min(at + step, map_.head.end)});
    }
    return parts;
  }

  StreamPlan::Reads reads_of(std::span<const MemoryRange> parts, std::span<const int64_t> segments,
                             const std::vector<bool>& stays) const {
    StreamPlan::Reads reads;
    auto segment = segments.begin();
    for (int64_t part = 0; part < std::ssize(parts); ++part) {
      const MemoryRange& range = parts[static_cast<size_t>(part)];
      if (!reads.reads.empty() && overlap(range_of(reads.reads.back().segment), range)) {
        reads.reads.back().last_part = part;
      }
      for (; segment != segments.end() && range_of(*segment).begin < range.end; ++segment) {
        if (!stays[static_cast<size_t>(*segment)]) reads.reads.push_back({*segment, part});
      }
      reads.needed.push_back(std::ssize(reads.reads));
    }
    return reads;
  }

  // Segments that one part needs together.
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
  int64_t segment_bytes_;
  std::vector<bool> stays_;             // [segments]
  std::vector<int64_t> layers_, head_;  // segments that may be read
};

int64_t memory_of(const StreamPlan& plan) {
  return (std::ssize(plan.resident) + plan.transient) * plan.segment_bytes;
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
  const int64_t wish = limit / (kAheadShare * kSegmentsAhead);
  int64_t segment_bytes = std::clamp<int64_t>(
      static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(wish, 1)))),
      kSegmentBytesMin, kSegmentBytesMax);
  for (; segment_bytes >= kSegmentBytesMin; segment_bytes /= 2) {
    // A head that stays is there for every head() of a pass, and for the embedding that it may be.
    Layout with_head(map, segment_bytes);
    with_head.keep_head();
    for (const Layout& layout : {with_head, Layout(map, segment_bytes)}) {
      if (auto plan = fitting(layout, limit)) return *std::move(plan);
    }
  }
  return resource_exhausted(
      "{} bytes of memory for weights are too few: this model needs {} at least", memory_max,
      vector_bytes + memory_of(Layout(map, kSegmentBytesMin).plan(0)));
}

}  // namespace millrace
