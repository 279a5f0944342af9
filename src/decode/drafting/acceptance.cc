#include "decode/drafting/acceptance.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace {
namespace {

constexpr double kAssumedTests = 4;      // that an assumption counts for
constexpr double kKeptEachStep = 0.999;  // of what was learned from all
constexpr double kKeptEachTest = 0.95;   // of what was learned of a sequence
constexpr double kUnknown = 0.8;         // of a method that has not guessed yet: worth trying
constexpr double kLeast = 0.001, kMost = 0.995;  // a child is always less likely than its parent

}  // namespace

void Acceptance::Share::add(bool held, int64_t now) {
  const double kept = std::pow(kKeptEachStep, now - at_);
  held_ = held_ * kept + (held ? 1 : 0);
  tested_ = tested_ * kept + 1;
  at_ = now;
}

double Acceptance::Share::value(double assumed, int64_t now) const {
  const double kept = std::pow(kKeptEachStep, now - at_);
  return (held_ * kept + kAssumedTests * assumed) / (tested_ * kept + kAssumedTests);
}

// 1, 2, 3 to 4, 5 and more.
size_t Acceptance::depth_class(int32_t depth) {
  return std::min<size_t>(std::bit_width(static_cast<uint32_t>(depth - 1)), kDepths - 1);
}

// By the logarithm of odds, so that 0.9 and 0.99 are apart.
size_t Acceptance::chance_class(float chance) {
  const float within = std::clamp(chance, 0.01F, 0.99F);
  const float odds = std::log(within / (1 - within)) + kChances / 2.0F;
  return static_cast<size_t>(std::clamp(odds, 0.0F, kChances - 1.0F));
}

double Acceptance::correction(SeqId sequence, int32_t method) const {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) return 1;
  const OfSequence& of = found->second[static_cast<size_t>(method)];
  return (of.held + kAssumedTests / 2) / (of.expected + kAssumedTests / 2);
}

double Acceptance::of(SeqId sequence, const Guess& guess) const {
  const Share& share =
      method(guess.method).by_chance[depth_class(guess.depth)][chance_class(guess.chance)];
  const double all = share.value(guess.chance, now_);
  return std::clamp(all * correction(sequence, guess.method), kLeast, kMost);
}

double Acceptance::before(SeqId sequence, int32_t index, int32_t depth) const {
  const double all = method(index).likeliest[depth_class(depth)].value(kUnknown, now_);
  return std::clamp(all * correction(sequence, index), kLeast, kMost);
}

void Acceptance::observe(SeqId sequence, const Guess& guess, bool is_likeliest, bool held) {
  OfMethod& of_method = methods_[static_cast<size_t>(guess.method)];
  Share& share = of_method.by_chance[depth_class(guess.depth)][chance_class(guess.chance)];
  auto& of_methods = sequences_.try_emplace(sequence, methods_.size()).first->second;
  OfSequence& of = of_methods[static_cast<size_t>(guess.method)];
  of.held = of.held * kKeptEachTest + (held ? 1 : 0);
  of.expected = of.expected * kKeptEachTest + share.value(guess.chance, now_);
  share.add(held, now_);
  if (is_likeliest) of_method.likeliest[depth_class(guess.depth)].add(held, now_);
}

}  // namespace millrace
