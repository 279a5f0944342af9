#include "decode/all.h"

#include "decode/sampling.h"

namespace millrace {

Strategies::Strategies(const Tokenizer& tokenizer, Drafting drafting) {
  all_.push_back(std::make_unique<Sampling>(tokenizer, std::move(drafting)));
}

void Strategies::propose(Flight& flight) {
  for (const auto& strategy : all_) strategy->propose(flight);
}

void Strategies::choose(Flight& flight) {
  for (const auto& strategy : all_) strategy->choose(flight);
}

void Strategies::accept(Flight& flight) {
  for (const auto& strategy : all_) strategy->accept(flight);
}

void Strategies::forget(const Sequence& sequence) {
  for (const auto& strategy : all_) strategy->forget(sequence);
}

}  // namespace millrace
