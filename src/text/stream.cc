#include "text/stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/unicode/unicode.h"

namespace millrace {

TextStream::TextStream(const Tokenizer& tokenizer, Options options)
    : tokenizer_(tokenizer),
      options_(std::move(options)),
      watches_(std::make_shared<const std::vector<Watch>>(watches_for(options_.stops))),
      matched_(options_.stops.size(), 0) {
  options_.stops = {};
}

std::vector<TextStream::Watch> TextStream::watches_for(const std::vector<std::string>& stops) {
  std::vector<Watch> watches;
  for (const std::string& stop : stops) {
    CHECK(!stop.empty(), "a stop string is empty");
    Watch& watch = watches.emplace_back();
    append_replaced(stop, watch.stop);
    watch.borders.assign(watch.stop.size() + 1, 0);
    size_t matched = 0;
    for (size_t i = 1; i < watch.stop.size(); ++i) {
      matched = watch.after(matched, watch.stop[i]);
      watch.borders[i + 1] = matched;
    }
  }
  return watches;
}

size_t TextStream::Watch::after(size_t matched, char byte) const {
  while (matched > 0 && (matched == stop.size() || stop[matched] != byte)) {
    matched = borders[matched];
  }
  return stop[matched] == byte ? matched + 1 : 0;
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
      const size_t stop_bytes = (*watches_)[static_cast<size_t>(stopped_)].stop.size();
      held_.resize(i + 1 - (options_.include_stop ? 0 : stop_bytes));
      bytes_.clear();
      return std::exchange(held_, {});
    }
  }
  size_t kept = 0;
  for (const size_t matched : matched_) kept = std::max(kept, at_end ? 0 : matched);
  std::string shown = held_.substr(0, held_.size() - kept);
  held_.erase(0, shown.size());
  return shown;
}

// True when a stop string ends with this byte.
bool TextStream::watch_byte(char byte) {
  size_t longest = 0;
  for (size_t i = 0; i < matched_.size(); ++i) {
    const Watch& watch = (*watches_)[i];
    matched_[i] = watch.after(matched_[i], byte);
    if (matched_[i] == watch.stop.size() && matched_[i] > longest) {
      longest = matched_[i];
      stopped_ = static_cast<int>(i);
    }
  }
  return longest > 0;
}

}  // namespace millrace
