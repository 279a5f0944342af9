#include "decode/history.h"

#include "decode/bans.h"
#include "decode/stop.h"

namespace millrace {
namespace {

template <typename T>
int32_t count(const std::vector<T>& values) {
  return static_cast<int32_t>(values.size());
}

}  // namespace

History::Rules::Rules(const Request& request, const Tokenizer& tokenizer)
    : vocab(tokenizer.vocab()), mask(mask_of(request.sampling.allowed)) {
  if (request.stop.strings.empty()) return;
  text_begin.emplace(tokenizer, TextStream::Options{.stops = request.stop.strings,
                                                    .skip_special = request.stop.skip_special,
                                                    .unheard = request.stop.tokens_min});
}

History::History(std::shared_ptr<const Rules> rules, const Request& request)
    : rules_(std::move(rules)), text_(rules_->text_begin) {
  if (TokenCounts::needed(request.sampling)) counts_.emplace(request.sampling, request.prompt);
}

void History::contribute(const Sequence& sequence, std::span<const TokenId> ahead, DrawOrder& order,
                         DrawOrders& orders) const {
  const Request& request = *sequence.request;
  const int64_t said = sequence.awaits_fork() ? 0 : sequence.generated();
  const auto generated = std::span(sequence.tokens).last(static_cast<size_t>(said));
  order.bias.begin = count(orders.bias);
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    orders.bias.push_back({token, bias});
  }
  forbid_ends(request.stop, rules_->vocab, said + std::ssize(ahead), orders.bias);
  forbid_banned(request.sampling.banned, generated, ahead, orders.bias);
  order.bias.end = count(orders.bias);
  order.mask.begin = count(orders.mask);
  orders.mask.insert(orders.mask.end(), rules_->mask.begin(), rules_->mask.end());
  order.mask.end = count(orders.mask);
  order.counts.begin = count(orders.counts);
  if (counts_) counts_->list(ahead, orders.counts);
  order.counts.end = count(orders.counts);
}

int32_t History::advance(TokenId token) {
  if (counts_) counts_->add(token);
  if (!text_) return -1;
  text_->push(token);
  return text_->stopped();
}

History& Histories::of(const Sequence& sequence) {
  std::unique_ptr<History>& history = all_[sequence.id];
  if (!history) history = std::make_unique<History>(rules_of(sequence), *sequence.request);
  return *history;
}

std::shared_ptr<const History::Rules> Histories::rules_of(const Sequence& sequence) const {
  for (const Sequence& other : sequence.choices) {
    const auto found = all_.find(other.id);
    if (found != all_.end() && found->second) return found->second->rules();
  }
  return std::make_shared<const History::Rules>(*sequence.request, tokenizer_);
}

}  // namespace millrace
