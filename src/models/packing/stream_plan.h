#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace millrace {

struct MemoryRange {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  bool operator==(const MemoryRange&) const = default;
};

// Where in the memory of all matrices those lie that a pass reads: one part after the other.
struct MatrixMap {
  int64_t bytes = 0;  // of all
  MemoryRange embedding;
  MemoryRange head;                      // may be the embedding
  int64_t head_panel_bytes = 1;          // of kPanelRows rows
  std::vector<MemoryRange> layers = {};  // ascending, one after the other
};

// Which of a model's matrices stay in memory, and in which order the others are read in each pass,
// so that both and what is read ahead fit a limit. Memory is divided into segments, and what stays
// is spread evenly over what a pass goes through, so that the disk always has something to do.
struct StreamPlan {
  // A segment that is read, and the last part that needs it.
  struct Read {
    int64_t segment = 0;
    int64_t last_part = 0;
  };
  // Segments in the order in which parts need them.
  struct Reads {
    std::vector<Read> reads;
    std::vector<int64_t> needed;  // [parts] how many of the reads a part and those before it need
  };

  int64_t segment_bytes = 0;
  std::vector<int64_t> resident;  // segments that stay, ascending
  Reads layers;                   // once a pass; a part is a layer
  Reads head;                     // for each head(), in parts
  int64_t head_part_panels = 0;   // of each but the last
  bool embedding_stays = false;
  int64_t transient = 0;  // segments besides those that stay

  int64_t segments(int64_t bytes) const { return (bytes + segment_bytes - 1) / segment_bytes; }
  std::span<std::byte> segment_of(std::span<std::byte> memory, int64_t segment) const {
    const auto begin = static_cast<size_t>(segment * segment_bytes);
    return memory.subspan(begin,
                          std::min(static_cast<size_t>(segment_bytes), memory.size() - begin));
  }
  bool stays(int64_t segment) const { return std::ranges::binary_search(resident, segment); }
  int64_t resident_bytes() const { return std::ssize(resident) * segment_bytes; }
  // Read by a pass that calls head() once.
  int64_t pass_bytes() const {
    return (std::ssize(layers.reads) + std::ssize(head.reads)) * segment_bytes;
  }
};

// Matrices and vectors take at most `memory_max` bytes. RESOURCE_EXHAUSTED, with the least that
// would do.
absl::StatusOr<StreamPlan> plan_stream(const MatrixMap& map, int64_t vector_bytes,
                                       int64_t memory_max);

}  // namespace millrace
