#include "chat/jinja/values/workspace.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "chat/jinja/values/operators.h"

namespace millrace::jinja {

namespace {
constexpr size_t kChunkBytesMax = 256 << 10;
// Below this a walk over the entries is faster than a hash.
constexpr size_t kIndexedEntriesMin = 9;
}  // namespace

void* Arena::allocate(size_t size, size_t alignment) {
  void* place = next_;
  size_t left = static_cast<size_t>(end_ - next_);
  if (next_ == nullptr || std::align(alignment, size, place, left) == nullptr) {
    const size_t bytes = std::max(chunk_bytes_, size);
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    chunk_bytes_ = std::min(chunk_bytes_ * 2, kChunkBytesMax);
    place = chunks_.back().get();
    end_ = chunks_.back().get() + bytes;
  }
  next_ = static_cast<std::byte*>(place) + size;
  used_bytes_ += static_cast<int64_t>(size);
  return place;
}

std::string_view Arena::copy(std::string_view bytes) {
  if (bytes.empty()) return {};
  char* place = static_cast<char*>(allocate(bytes.size(), 1));
  std::memcpy(place, bytes.data(), bytes.size());
  return {place, bytes.size()};
}

absl::Status Workspace::spend(int64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps_max) [[unlikely]] {
    return resource_exhausted("the template takes more than {} steps", limits_.steps_max);
  }
  if (memory_bytes() > limits_.memory_bytes_max) [[unlikely]] {
    return resource_exhausted("the template uses more than {} bytes of memory",
                              limits_.memory_bytes_max);
  }
  return absl::OkStatus();
}

absl::Status Workspace::spend_bytes(size_t bytes, int64_t bytes_per_step) {
  return spend(static_cast<int64_t>(bytes) / bytes_per_step);
}

absl::Status Workspace::expect_items(int64_t items) const {
  if (items <= limits_.items_max) return absl::OkStatus();
  return resource_exhausted("the template makes a list of {} items, more than {}", items,
                            limits_.items_max);
}

absl::Status Workspace::expect_text(int64_t bytes) const {
  if (bytes <= limits_.text_bytes_max) return absl::OkStatus();
  return resource_exhausted("the template makes a string of more than {} bytes",
                            limits_.text_bytes_max);
}

absl::Status Workspace::Level::check() const {
  if (work_.depth_ <= work_.limits_.depth_max) [[likely]]
    return absl::OkStatus();
  return resource_exhausted("the template nests deeper than {} levels", work_.limits_.depth_max);
}

std::span<const Value> Workspace::keep(const std::vector<Value>& items) {
  const std::span<Value> kept = arena_.make_array<Value>(items.size());
  std::copy(items.begin(), items.end(), kept.begin());
  return kept;
}

absl::StatusOr<Value> Workspace::generator(const std::vector<Value>& items,
                                           const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return status;
  Iterator* made = iterator(keep(items), Iterator::Type::kGenerator);
  if (!status.ok()) {
    const std::string_view message = arena_.copy(message_of(status));
    made->failure = arena_.make<Iterator::Failure>(status.code(), message);
  }
  return Value(made);
}

const Dict* Workspace::dict(const std::vector<Entry>& entries) {
  const std::span<Entry> kept = arena_.make_array<Entry>(entries.size());
  std::span<int32_t> slots;
  if (entries.size() >= kIndexedEntriesMin) {
    slots = arena_.make_array<int32_t>(std::bit_ceil(entries.size() * 2));
    std::fill(slots.begin(), slots.end(), -1);
  }
  size_t count = 0;
  for (const Entry& entry : entries) {
    const Dict so_far{kept.first(count), slots};
    if (const Value* known = so_far.find(entry.key)) {
      *const_cast<Value*>(known) = entry.value;
      continue;
    }
    if (!slots.empty()) {
      size_t at = hash_of(entry.key) & (slots.size() - 1);
      while (slots[at] >= 0) at = (at + 1) & (slots.size() - 1);
      slots[at] = static_cast<int32_t>(count);
    }
    kept[count++] = entry;
  }
  return arena_.make<Dict>(kept.first(count), slots);
}

Text slice(Workspace& work, const Text& text, size_t begin, size_t end) {
  Text part{.data = text.data + begin,
            .size = static_cast<uint32_t>(end - begin),
            .is_markup = text.is_markup,
            .marks = text.marks};
  if (text.marks == nullptr || text.marks == &kAllWritten) return part;
  const auto& ranges = text.marks->ranges;
  const auto ends_after = [](const ByteRange& range, size_t at) { return range.end <= at; };
  const auto first = std::lower_bound(ranges.begin(), ranges.end(), begin, ends_after);
  auto last = first;
  while (last != ranges.end() && last->begin < end) ++last;
  part.marks = nullptr;
  if (first == last) return part;
  const std::span<ByteRange> kept =
      work.arena().make_array<ByteRange>(static_cast<size_t>(last - first));
  std::transform(first, last, kept.begin(), [&](const ByteRange& range) {
    return ByteRange{std::max(range.begin, begin) - begin, std::min(range.end, end) - begin};
  });
  part.marks = work.arena().make<Marks>(kept);
  return part;
}

void TextBuilder::append(std::string_view bytes, bool is_written) {
  if (bytes.empty() || is_full_) return;
  if (static_cast<int64_t>(bytes_.size() + bytes.size()) > work_.limits().text_bytes_max ||
      !work_.takes(static_cast<int64_t>(bytes.size()))) {
    is_full_ = true;
    return;
  }
  if (is_written) {
    if (!written_.empty() && written_.back().end == bytes_.size()) {
      written_.back().end += bytes.size();
    } else {
      work_.takes(sizeof(ByteRange));
      written_.push_back({bytes_.size(), bytes_.size() + bytes.size()});
    }
  }
  bytes_ += bytes;
}

void TextBuilder::append(const Text& text) {
  if (text.marks == nullptr) return append(text.view(), false);
  for_each_run(text, [&](std::string_view bytes, bool is_written) { append(bytes, is_written); });
}

void TextBuilder::append_repeated(const Text& text, int64_t times) {
  constexpr int64_t kBlockBytes = 4096;
  if (text.size == 0) return;
  const int64_t copies = kBlockBytes / text.size;
  if (text.marks == nullptr && copies > 1 && times >= copies) {
    std::string block;
    for (int64_t i = 0; i < copies; ++i) block += text.view();
    for (; times >= copies && !is_full_; times -= copies) append(block);
  }
  for (; times > 0 && !is_full_; --times) append(text);
}

absl::Status TextBuilder::check() const {
  if (!is_full_) return absl::OkStatus();
  RETURN_IF_ERROR(work_.spend(0));
  return work_.expect_text(work_.limits().text_bytes_max + 1);
}

absl::StatusOr<Value> TextBuilder::finish() {
  RETURN_IF_ERROR(check());
  Text text = work_.copy(bytes_);
  if (written_.size() == 1 && written_[0].begin == 0 && written_[0].end == bytes_.size()) {
    text.marks = &kAllWritten;
  } else if (!written_.empty()) {
    const std::span<ByteRange> ranges = work_.arena().make_array<ByteRange>(written_.size());
    std::copy(written_.begin(), written_.end(), ranges.begin());
    text.marks = work_.arena().make<Marks>(ranges);
  }
  return Value(text);
}

absl::StatusOr<MarkedText> TextBuilder::take() {
  RETURN_IF_ERROR(check());
  return MarkedText{std::move(bytes_), std::move(written_)};
}

}  // namespace millrace::jinja
