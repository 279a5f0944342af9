#include "decode/propose/suffix.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/check.h"

namespace millrace {
namespace {

// Used answers that may stay when one has to go: each is put into the tree once more.
constexpr int kSecondChances = 2;

// What an answer and a salt of its own take beside the tree's nodes and the tokens, in tokens.
constexpr int64_t kTokensBeside = 64;

constexpr int64_t kBytesPerToken = sizeof(TokenId);

}  // namespace

// There is room for as many tokens as nodes.
PastAnswers::PastAnswers(const SuffixOptions& options)
    : answers_max_(options.answers_max),
      nodes_max_(options.bytes_max / (SuffixTree::bytes_of_nodes(1) + kBytesPerToken)),
      tree_(options.tree_depth) {
  if (answers_max_ > 0) tree_.reserve(nodes_max_);
}

void PastAnswers::add(uint64_t salt, std::span<const TokenId> answer) {
  const int64_t tokens = std::ssize(answer);
  const int64_t most = std::max(2 * tokens + 1, tokens + kTokensBeside);
  if (answers_max_ == 0 || most > nodes_max_ || !make_room(salt, tokens)) return;
  Salt& own = salts_[salt];
  if (own.root < 0) own.root = tree_.add_root();
  push(own, answer);
}

int32_t PastAnswers::root(uint64_t salt) const {
  const auto found = salts_.find(salt);
  return found == salts_.end() ? -1 : found->second.root;
}

// False: the answer is more than the salt's share.
bool PastAnswers::make_room(uint64_t salt, int64_t tokens) {
  int second_chances = kSecondChances;
  while (true) {
    const bool too_many = held_.answers + 1 > answers_max_;
    // The root, and what a split needs before a merge.
    const bool too_long = held_.tokens + tokens + kTokensBeside > nodes_max_ ||
                          tree_.nodes() + 2 * tokens + 2 > nodes_max_;
    if (!too_many && !too_long) return true;
    const auto from = too_many ? payer(salt, &Held::answers, 1)
                               : payer(salt, &Held::tokens, tokens + kTokensBeside);
    if (!from) return false;
    Salt& paying = salts_[*from];
    const bool used = answers_[static_cast<size_t>(paying.oldest)].used;
    const std::vector<TokenId> popped = pop(paying);
    if (paying.held.answers == 0) {
      tree_.remove_root(paying.root);
      salts_.erase(*from);
    } else if (used && second_chances > 0) {
      --second_chances;
      push(paying, popped);
    }
  }
}

// Whose answer goes, so that the salt can hold as much more; none, if that alone is beyond its
// share.
std::optional<uint64_t> PastAnswers::payer(uint64_t salt, int64_t Held::*what,
                                           int64_t added) const {
  const auto found = salts_.find(salt);
  const int64_t own = found == salts_.end() ? 0 : found->second.held.*what;
  const int64_t salts = std::ssize(salts_) + (found == salts_.end() ? 1 : 0);
  const int64_t others = held_.*what - own;
  if (added * salts > others + added) return std::nullopt;
  if ((own + added) * salts > others + own + added) return salt;
  // Of those with the most, any: the numbers of salts have no meaning.
  return std::ranges::max_element(
             salts_, {},
             [what](const auto& entry) { return std::pair(entry.second.held.*what, entry.first); })
      ->first;
}

void PastAnswers::push(Salt& salt, std::span<const TokenId> answer) {
  const int32_t text = tree_.add_text(salt.root);
  for (const TokenId token : answer) tree_.append(token);
  tree_.finish_text();
  if (text >= std::ssize(answers_)) answers_.resize(static_cast<size_t>(text) + 1);
  answers_[static_cast<size_t>(text)] = {};
  (salt.oldest < 0 ? salt.oldest : answers_[static_cast<size_t>(salt.newest)].next) = text;
  salt.newest = text;
  for (Held* held : {&held_, &salt.held}) {
    ++held->answers;
    held->tokens += std::ssize(answer) + kTokensBeside;
  }
}

std::vector<TokenId> PastAnswers::pop(Salt& salt) {
  const int32_t text = salt.oldest;
  salt.oldest = answers_[static_cast<size_t>(text)].next;
  std::vector<TokenId> tokens = tree_.remove_text(text);
  for (Held* held : {&held_, &salt.held}) {
    --held->answers;
    held->tokens -= std::ssize(tokens) + kTokensBeside;
  }
  return tokens;
}

void SuffixDraft::clear() {
  taken_.clear();
  open_.clear();
  score_ = 0;
}

void SuffixDraft::grow(const SuffixTree& tree, SuffixTree::Place run, int32_t length,
                       const Bounds& bounds) {
  clear();
  offer(tree, {.joint = 1, .place = run}, -1, length, bounds);
  while (!open_.empty() && std::ssize(taken_) < bounds.nodes) {
    std::ranges::pop_heap(open_, comes_after);
    const Node node = open_.back();
    open_.pop_back();
    taken_.push_back(node);
    score_ += node.joint;
    const auto index = static_cast<int32_t>(taken_.size()) - 1;
    if (node.depth < bounds.depth) offer(tree, node, index, length, bounds);
  }
}

// Of what is as likely, what was seen last: so a path goes on before another begins.
bool SuffixDraft::comes_after(const Node& a, const Node& b) {
  return std::tie(a.joint, a.recency) < std::tie(b.joint, b.recency);
}

void SuffixDraft::offer(const SuffixTree& tree, const Node& parent, int32_t index, int32_t length,
                        const Bounds& bounds) {
  next_.clear();
  tree.continuations(parent.place, bounds.nodes - std::ssize(taken_), next_);
  // The text's own end has no continuation yet, and says nothing against those that are known.
  const int32_t count =
      tree.count(parent.place) - (tree.is_ending(parent.place, length + parent.depth) ? 1 : 0);
  for (const SuffixTree::Continuation& next : next_) {
    const double chance = static_cast<double>(next.count) / count;
    if (parent.joint * chance < bounds.chance_min) break;
    open_.push_back({.token = next.token,
                     .parent = index,
                     .depth = parent.depth + 1,
                     .chance = static_cast<float>(chance),
                     .joint = parent.joint * chance,
                     .recency = next.recency,
                     .place = next.place});
    std::ranges::push_heap(open_, comes_after);
  }
}

void SuffixDraft::write(DraftSlot& slot) const {
  for (const Node& node : taken_) slot.add(node.token, node.parent, node.chance);
}

void SuffixProposer::propose(std::span<DraftSlot> slots) {
  int64_t left = kTokensReadPerStep;
  for (DraftSlot& slot : slots) {
    if (const SuffixTree* own = grown(*slot.sequence, left)) propose(*own, slot);
  }
}

void SuffixProposer::propose(const SuffixTree& own, DraftSlot& slot) {
  const std::span<const TokenId> tokens = slot.sequence->tokens;
  draft(
      own, own.repeated(), [&](int32_t length) { return own.ending(length); }, slot, from_own_);
  slot.matched = own.repeated();
  const int32_t root = past_.root(slot.sequence->request->cache_salt);
  const SuffixTree& past = past_.tree();
  const int32_t matched = root < 0 ? 0 : past.match(root, tokens);
  const SuffixTree::Place place = draft(
      past, matched,
      [&](int32_t length) { return *past.find(root, tokens.last(static_cast<size_t>(length))); },
      slot, from_past_);
  if (from_own_.score() >= from_past_.score()) {
    from_own_.write(slot);
  } else {
    slot.matched = matched;
    past_.use(past.text_of(place));
    from_past_.write(slot);
  }
}

const SuffixTree* SuffixProposer::grown(const Sequence& sequence, int64_t& left) {
  std::unique_ptr<SuffixTree>& tree = own_[sequence.id];
  if (!tree) {
    tree = std::make_unique<SuffixTree>(options_.tree_depth);
    tree->add_text(tree->add_root());
  }
  const std::span<const TokenId> tokens = sequence.tokens;
  CHECK(tree->length() <= std::ssize(tokens), "a sequence that lost tokens");
  const int64_t read = std::min(std::ssize(tokens) - tree->length(), left);
  left -= read;
  for (const TokenId token :
       tokens.subspan(static_cast<size_t>(tree->length()), static_cast<size_t>(read))) {
    tree->append(token);
  }
  return tree->length() == std::ssize(tokens) ? tree.get() : nullptr;
}

// A match of all the tree's depth would leave no room for a draft, so one gives up its first
// tokens for that, half of the depth at most.
SuffixTree::Place SuffixProposer::draft(
    const SuffixTree& tree, int32_t matched,
    absl::FunctionRef<SuffixTree::Place(int32_t length)> place_of, const DraftSlot& slot,
    SuffixDraft& draft) const {
  draft.clear();
  const auto nodes = static_cast<int32_t>(
      std::min<double>(slot.nodes_max, std::floor(options_.nodes_per_match * matched)));
  if (nodes < 1) return {};
  const int32_t tree_depth = options_.tree_depth;
  const int32_t ahead = std::min(slot.depth_max, nodes);
  const int32_t length = std::min(matched, std::max(tree_depth - ahead, tree_depth / 2));
  const SuffixTree::Place place = place_of(length);
  draft.grow(tree, place, length,
             {.nodes = nodes,
              .depth = std::min(slot.depth_max, tree_depth - length),
              .chance_min = options_.chance_min});
  return place;
}

void SuffixProposer::forget(const Sequence& sequence) {
  own_.erase(sequence.id);
  // A run that goes on has two tokens.
  if (sequence.generated() < 2) return;
  const auto answer = std::span(sequence.tokens).subspan(static_cast<size_t>(sequence.prompt()));
  past_.add(sequence.request->cache_salt,
            answer.last(std::min(answer.size(), static_cast<size_t>(kTokensReadPerStep))));
}

}  // namespace millrace
