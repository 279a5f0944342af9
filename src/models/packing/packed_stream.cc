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
  const int64_t whole = end == total ? plan_.units(total) : end / plan_.unit_bytes;
  for (; next_unit_ < whole; ++next_unit_) {
    if (plan_.stays(next_unit_)) continue;
    let_go(plan_.unit_of(memory_, next_unit_));
  }
  return absl::OkStatus();
}

absl::Status PackedStream::finish() {
  RETURN_IF_ERROR(add_up_to(std::ssize(memory_)));
  return writer_.finish();
}

}  // namespace millrace
