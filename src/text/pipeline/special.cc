#include "text/pipeline/special.h"

#include <algorithm>
#include <utility>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

size_t spaces_end(std::string_view text, size_t at, size_t limit) {
  while (at < limit) {
    const Utf8Char c = decode_utf8(text.substr(at, limit - at));
    if (!c.valid || char_class(c.code) != kSpaceChar) break;
    at += c.length;
  }
  return at;
}

size_t spaces_begin(std::string_view text, size_t limit, size_t at) {
  while (at > limit) {
    size_t begin = at - 1;
    while (begin > limit && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
    if (spaces_end(text, begin, at) != at) break;
    at = begin;
  }
  return at;
}

}  // namespace

SpecialSearch::SpecialSearch(const Vocab& vocab) {
  std::vector<Trie::Entry> entries;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const TokenKind kind = vocab.kind(id);
    // llama.cpp reads this spelling as a token in every vocabulary that lists it, even as plain
    // text (qwen2 does), and prompts rely on it.
    const bool control =
        kind == TokenKind::kControl || kind == TokenKind::kUnknown || vocab.text(id) == "</s>";
    if (!control && kind != TokenKind::kUserDefined) continue;
    entries.push_back({vocab.text(id), id});
    if (control) control_.insert(id);
    const TokenStrips strips = vocab.strips(id);
    if (strips.left || strips.right) strips_.emplace(id, strips);
  }
  trie_ = Trie(std::move(entries));
}

SpecialSearch::Found SpecialSearch::longest(const Query& query, size_t begin,
                                            size_t bytes_max) const {
  const size_t control_max = query.control ? query.marked.unwritten_from(begin) : 0;
  Found found{begin, begin, Trie::kNone};
  trie_.for_each_prefix(query.marked.text.substr(begin, bytes_max),
                        [&](const Trie::Prefix& prefix) {
                          if (prefix.bytes > control_max && is_control(prefix.value)) return;
                          found = {begin, begin + prefix.bytes, prefix.value};
                        });
  return found;
}

std::vector<SpecialSearch::Found> SpecialSearch::find(const MarkedView& marked,
                                                      bool control) const {
  const Query query{marked, control};
  const std::string_view text = marked.text;
  std::vector<Found> found;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!trie_.begins_with(text[i])) continue;
    const Found here = longest(query, i, text.size());
    if (here.id != Trie::kNone) found.push_back(here);
  }
  if (found.size() > 1) found = choose(query, std::move(found));
  if (!strips_.empty()) strip(text, found);
  return found;
}

std::vector<SpecialSearch::Found> SpecialSearch::choose(const Query& query,
                                                        std::vector<Found> heap) const {
  const auto later = [](const Found& a, const Found& b) {
    const size_t a_bytes = a.end - a.begin;
    const size_t b_bytes = b.end - b.begin;
    return a_bytes != b_bytes ? a_bytes < b_bytes : a.begin > b.begin;
  };
  std::ranges::make_heap(heap, later);
  std::vector<bool> taken(query.marked.text.size());
  std::vector<Found> chosen;
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, later);
    const Found found = heap.back();
    heap.pop_back();
    // What is taken already is no shorter than this one, so an overlap covers one of its ends.
    if (taken[found.begin]) continue;
    if (taken[found.end - 1]) {
      const Found shorter = longest(query, found.begin, found.end - found.begin - 1);
      if (shorter.id == Trie::kNone) continue;
      heap.push_back(shorter);
      std::ranges::push_heap(heap, later);
      continue;
    }
    std::fill(taken.begin() + static_cast<ptrdiff_t>(found.begin),
              taken.begin() + static_cast<ptrdiff_t>(found.end), true);
    chosen.push_back(found);
  }
  std::ranges::sort(chosen, {}, &Found::begin);
  return chosen;
}

void SpecialSearch::strip(std::string_view text, std::vector<Found>& found) const {
  for (size_t i = 0; i < found.size(); ++i) {
    const auto strips = strips_.find(found[i].id);
    if (strips == strips_.end()) continue;
    const size_t left_end = i == 0 ? 0 : found[i - 1].end;
    const size_t right_end = i + 1 == found.size() ? text.size() : found[i + 1].begin;
    if (strips->second.left) found[i].begin = spaces_begin(text, left_end, found[i].begin);
    if (strips->second.right) found[i].end = spaces_end(text, found[i].end, right_end);
  }
}

}  // namespace millrace
