#include "models/packing/packed_stream.h"

#include "tensor/huge_pages.h"

namespace millrace {

absl::Status PackedStream::add_up_to(int64_t bytes) {
  const int64_t total = std::ssize(memory_);
  const int64_t end = bytes == total ? total : bytes / kPackChunkBytes * kPackChunkBytes;
  const int64_t begin = writer_.bytes_added();
  if (end <= begin) return absl::OkStatus();
  RETURN_IF_ERROR(
      writer_.add(memory_.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))));
  const int64_t whole = end == total ? plan_.segments(total) : end / plan_.segment_bytes;
  for (; next_segment_ < whole; ++next_segment_) {
    if (plan_.stays(next_segment_)) continue;
    let_go(plan_.segment_of(memory_, next_segment_));
  }
  return absl::OkStatus();
}

absl::Status PackedStream::finish() {
  RETURN_IF_ERROR(add_up_to(std::ssize(memory_)));
  return writer_.finish();
}

}  // namespace millrace
