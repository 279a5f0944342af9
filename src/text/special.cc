#include "text/special.h"

#include <algorithm>

namespace millrace {
namespace {

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

SpecialSearch::SpecialSearch(const Vocab& vocab) : nodes_(1) {
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const TokenKind kind = vocab.kind(id);
    // llama.cpp reads this spelling as a token in every vocabulary that lists it, even as plain
    // text (qwen2 does), and prompts rely on it.
    const bool control =
        kind == TokenKind::kControl || kind == TokenKind::kUnknown || vocab.text(id) == "</s>";
    if (control || kind == TokenKind::kUserDefined) add(vocab.text(id), id, control);
  }
}

void SpecialSearch::add(std::string_view text, TokenId id, bool control) {
  if (text.empty()) return;
  first_bytes_[byte_at(text, 0)] = true;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto [edge, is_new] = edges_.try_emplace(uint64_t{node} << 8 | byte_at(text, i),
                                                   static_cast<uint32_t>(nodes_.size()));
    if (is_new) nodes_.emplace_back();
    node = edge->second;
  }
  nodes_[node] = {id, control};
}

SpecialSearch::Found SpecialSearch::longest(const Query& query, size_t begin,
                                            size_t bytes_max) const {
  const size_t control_max = query.control ? query.marked.unwritten_from(begin) : 0;
  Found found{begin, begin, -1};
  uint32_t node = 0;
  for (size_t i = begin; i < query.marked.text.size() && i - begin < bytes_max; ++i) {
    const auto edge = edges_.find(uint64_t{node} << 8 | byte_at(query.marked.text, i));
    if (edge == edges_.end()) break;
    node = edge->second;
    const auto [id, control] = nodes_[node];
    const size_t end = i + 1;
    if (id >= 0 && (!control || end - begin <= control_max)) found = {begin, end, id};
  }
  return found;
}

std::vector<SpecialSearch::Found> SpecialSearch::find(std::string_view text,
                                                      std::span<const ByteRange> written,
                                                      bool control) const {
  const Query query{{text, written}, control};
  std::vector<Found> heap;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!first_bytes_[byte_at(text, i)]) continue;
    const Found found = longest(query, i, text.size());
    if (found.id >= 0) heap.push_back(found);
  }
  if (heap.size() <= 1) return heap;

  const auto later = [](const Found& a, const Found& b) {
    const size_t a_bytes = a.end - a.begin;
    const size_t b_bytes = b.end - b.begin;
    return a_bytes != b_bytes ? a_bytes < b_bytes : a.begin > b.begin;
  };
  std::ranges::make_heap(heap, later);
  std::vector<bool> taken(text.size());
  std::vector<Found> chosen;
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, later);
    const Found found = heap.back();
    heap.pop_back();
    // What is taken already is no shorter than this one, so an overlap covers one of its ends.
    if (taken[found.begin]) continue;
    if (taken[found.end - 1]) {
      const Found shorter = longest(query, found.begin, found.end - found.begin - 1);
      if (shorter.id < 0) continue;
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

}  // namespace millrace
