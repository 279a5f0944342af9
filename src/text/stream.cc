#include "text/stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/unicode.h"

namespace millrace {

TextStream::TextStream(const Tokenizer& tokenizer, Options options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  for (const std::string& stop : options_.stops) {
    CHECK(!stop.empty(), "a stop string is empty");
    Watch watch;
    append_replaced(stop, watch.stop);
    watch.borders.assign(watch.stop.size() + 1, 0);
    for (size_t i = 1; i < watch.stop.size(); ++i) {
      watch.matched = watch.after(watch.matched, watch.stop[i]);
      watch.borders[i + 1] = watch.matched;
    }
    watch.matched = 0;
    watches_.push_back(std::move(watch));
  }
}

size_t TextStream::Watch::after(size_t begun, char byte) const {
  while (begun > 0 && (begun == stop.size() || stop[begun] != byte)) begun = borders[begun];
  return stop[begun] == byte ? begun + 1 : 0;
}

std::string TextStream::push(TokenId token) {
  const bool heard = options_.unheard == 0;
  if (!heard) --options_.unheard;
  if (stopped_ >= 0 || (options_.skip_special && tokenizer_.is_special(token))) return {};
  bytes_ += tokenizer_.next_piece(token, options_.at_start);
  return release(false, heard);
}

std::string TextStream::finish() {
  return stopped_ >= 0 ? std::string() : release(true, options_.unheard == 0);
}

std::string TextStream::release(bool at_end, bool heard) {
  size_t whole = 0;
  while (whole < bytes_.size()) {
    const Utf8Char c = decode_utf8(std::string_view(bytes_).substr(whole));
    if (c.cut && !at_end) break;
    whole += c.length;
  }
  const size_t before = held_.size();
  append_replaced(std::string_view(bytes_).substr(0, whole), held_);
  bytes_.erase(0, whole);

  for (size_t i = before; heard && i < held_.size(); ++i) {
    if (watch_byte(held_[i])) {
      const size_t stop_bytes = watches_[static_cast<size_t>(stopped_)].stop.size();
      held_.resize(i + 1 - (options_.include_stop ? 0 : stop_bytes));
      bytes_.clear();
      return std::exchange(held_, {});
    }
  }
  size_t kept = 0;
  for (const Watch& watch : watches_) kept = std::max(kept, at_end ? 0 : watch.matched);
  std::string shown = held_.substr(0, held_.size() - kept);
  held_.erase(0, shown.size());
  return shown;
}

// True when a stop string ends with this byte.
bool TextStream::watch_byte(char byte) {
  size_t longest = 0;
  for (size_t i = 0; i < watches_.size(); ++i) {
    Watch& watch = watches_[i];
    watch.matched = watch.after(watch.matched, byte);
    if (watch.matched == watch.stop.size() && watch.matched > longest) {
      longest = watch.matched;
      stopped_ = static_cast<int>(i);
    }
  }
  return longest > 0;
}

}  // namespace millrace
