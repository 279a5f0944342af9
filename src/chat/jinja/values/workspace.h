#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <absl/time/time.h>

#include "base/status.h"
#include "chat/jinja/values/value.h"
#include "text/marked_text.h"

namespace millrace::jinja {

// What one template may cost. Everything is counted, never timed, so that a template that stops
// here stops everywhere. Published templates use at most some thousandths of each.
struct Limits {
  int64_t source_bytes_max = 1 << 20;
  // One node costs about 100 bytes.
  int32_t nodes_max = 100'000;
  // Nested blocks and expressions; a level of the parser costs up to 1 KiB of stack.
  int32_t parse_depth_max = 200;
  // Names are compared and hashed at every use.
  int64_t name_bytes_max = 256;
  // Of a macro, and named ones of a call: binding them is the square of their number.
  int64_t parameters_max = 64;

  // One step is some 50 ns, and 100 ns at most: 1 million are at most 100 ms.
  int64_t steps_max = 1'000'000;
  // Nested evaluation, macro calls and values; a level costs up to 1.5 KiB of stack.
  int32_t depth_max = 1'000;
  // All that a rendering allocates and writes, freed or not; the peak of the process is at most
  // twice this, when a text is copied out of the builder that doubled for it.
  int64_t memory_bytes_max = 32 << 20;
  int64_t text_bytes_max = 16 << 20;  // of one string, and of the output
  int64_t items_max = 200'000;        // of one list or dict
  // As jinja2's sandbox.
  int64_t range_items_max = 100'000;
};

// Memory that is given back as a whole. Holds only what needs no destructor.
class Arena {
 public:
  template <typename T, typename... Args>
  T* make(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T>);
    return new (allocate(sizeof(T), alignof(T))) T{std::forward<Args>(args)...};
  }
  template <typename T>
  std::span<T> make_array(size_t count) {
    static_assert(std::is_trivially_destructible_v<T>);
    if (count == 0) return {};
    T* first = static_cast<T*>(allocate(count * sizeof(T), alignof(T)));
    std::uninitialized_value_construct_n(first, count);
    return {first, count};
  }
  std::string_view copy(std::string_view bytes);

  int64_t used_bytes() const { return used_bytes_; }

 private:
  void* allocate(size_t size, size_t alignment);

  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::byte* next_ = nullptr;
  std::byte* end_ = nullptr;
  size_t chunk_bytes_ = 8 << 10;
  int64_t used_bytes_ = 0;
};

// What one rendering works with: its memory, its clock, and the counts that end it when it asks for
// too much (RESOURCE_EXHAUSTED).
class Workspace {
 public:
  Workspace(const Limits& limits, absl::Time now) : limits_(limits), now_(now) {}

  const Limits& limits() const { return limits_; }
  absl::Time now() const { return now_; }
  Arena& arena() { return arena_; }

  int64_t steps() const { return steps_; }
  int64_t memory_bytes() const { return arena_.used_bytes() + written_bytes_; }

  // Counts work done; also the place where memory used so far is judged.
  absl::Status spend(int64_t steps = 1);
  // Work that walks over bytes, `bytes_per_step` of which take as long as one step.
  absl::Status spend_bytes(size_t bytes, int64_t bytes_per_step = 64);
  // Before something large is made: fails if it would not fit.
  absl::Status expect_items(int64_t items) const;
  absl::Status expect_text(int64_t bytes) const;
  bool takes(int64_t bytes) { return (written_bytes_ += bytes) <= limits_.memory_bytes_max; }

  // One level of recursion for as long as it lives.
  class Level {
   public:
    explicit Level(Workspace& work) : work_(work) { ++work_.depth_; }
    ~Level() { --work_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    absl::Status check() const;

   private:
    Workspace& work_;
  };

  Text copy(std::string_view bytes) { return make_view(arena_.copy(bytes)); }
  const List* list(std::span<const Value> items) { return arena_.make<List>(items); }
  const List* tuple(std::span<const Value> items) { return arena_.make<List>(items, true); }
  const List* list(const std::vector<Value>& items) { return list(keep(items)); }
  std::span<const Value> keep(const std::vector<Value>& items);
  Iterator* iterator(std::span<const Value> items, Iterator::Type type) {
    return arena_.make<Iterator>(items, type);
  }
  // A generator of the items, which then fails as `status` says. What asks for too much fails now.
  absl::StatusOr<Value> generator(const std::vector<Value>& items, const absl::Status& status);
  // Keys must be hashable; a later entry replaces the value of an equal earlier one.
  const Dict* dict(const std::vector<Entry>& entries);

 private:
  const Limits limits_;
  const absl::Time now_;
  Arena arena_;
  int64_t steps_ = 0;
  int64_t written_bytes_ = 0;  // by TextBuilders
  int32_t depth_ = 0;
};

// Bytes [begin, end) of a text, with their marks.
Text slice(Workspace& work, const Text& text, size_t begin, size_t end);

// Calls visit(bytes, is_written) for each stretch of the text that was or was not written.
template <typename Visit>
void for_each_run(const Text& text, Visit visit) {
  size_t at = 0;
  if (text.marks != nullptr) {
    for (const ByteRange& range : text.marks->ranges) {
      const size_t begin = std::min<size_t>(range.begin, text.size);
      const size_t end = std::min<size_t>(range.end, text.size);
      if (at < begin) visit(text.view().substr(at, begin - at), false);
      if (begin < end) visit(text.view().substr(begin, end - begin), true);
      at = end;
    }
  }
  if (at < text.size) visit(text.view().substr(at), false);
}

// Puts a text together and remembers what was written in it. Appending never fails; what became
// too long says so at the end.
class TextBuilder {
 public:
  explicit TextBuilder(Workspace& work) : work_(work) {}

  void append(std::string_view bytes, bool is_written = false);
  void append(const Text& text);
  void append_repeated(const Text& text, int64_t times);
  size_t size() const { return bytes_.size(); }

  absl::Status check() const;
  absl::StatusOr<Value> finish();
  absl::StatusOr<MarkedText> take();

 private:
  Workspace& work_;
  std::string bytes_;
  std::vector<ByteRange> written_;
  bool is_full_ = false;
};

}  // namespace millrace::jinja
