#include "text/normal/rewrite.h"

#include <algorithm>
#include <utility>

namespace millrace {

Rewrite::Rewrite(const Normalised& from) : from_(from) {
  to_.from_start = from.from_start;
  to_.marked.text.reserve(from.marked.text.size() + from.marked.text.size() / 8);
}

void Rewrite::mark(size_t begin, size_t end) {
  auto& written = to_.marked.written;
  if (begin == end) return;
  if (!written.empty() && written.back().end >= begin) {
    written.back().end = end;
  } else {
    written.push_back({begin, end});
  }
}

void Rewrite::keep(size_t end) {
  if (end == at_) return;
  const auto& written = from_.marked.written;
  const size_t moved = to_.marked.text.size() - at_;  // modulo 2^64: may be less
  to_.marked.text.append(text().substr(at_, end - at_));
  while (next_mark_ < written.size() && written[next_mark_].begin < end) {
    const ByteRange range = written[next_mark_];
    if (range.end > at_) mark(std::max(range.begin, at_) + moved, std::min(range.end, end) + moved);
    if (range.end > end) break;
    ++next_mark_;
  }
  at_ = end;
}

bool Rewrite::is_written(size_t begin, size_t end) {
  const auto& written = from_.marked.written;
  while (next_mark_ < written.size() && written[next_mark_].end <= begin) ++next_mark_;
  const bool before = next_mark_ > 0 && written[next_mark_ - 1].end == begin;
  const bool after = next_mark_ < written.size() && written[next_mark_].begin <= begin;
  // An insertion touches the byte before it, and the one after it.
  if (begin == end) return before || after;
  return next_mark_ < written.size() && written[next_mark_].begin < end;
}

void Rewrite::put(size_t end, std::string_view bytes) {
  const bool written = is_written(at_, end);
  const size_t begin = to_.marked.text.size();
  if (bytes.empty() && begin == 0 && end > at_) to_.from_start = false;
  to_.marked.text.append(bytes);
  if (written) mark(begin, to_.marked.text.size());
  at_ = end;
}

Normalised Rewrite::finish() {
  keep(text().size());
  if (leaves_start_) to_.from_start = false;
  return std::move(to_);
}

}  // namespace millrace
