#pragma once

#include <memory>
#include <vector>

#include "decode/drafting/drafting.h"
#include "decode/strategy.h"
#include "text/tokenizer.h"

namespace millrace {

// Every way of decoding; each finds its own sequences in a flight.
class Strategies final : public Strategy {
 public:
  Strategies(const Tokenizer& tokenizer, Drafting drafting);

  void propose(Flight& flight) override;
  void choose(Flight& flight) override;
  void accept(Flight& flight) override;
  void forget(const Sequence& sequence) override;

 private:
  std::vector<std::unique_ptr<Strategy>> all_;
};

}  // namespace millrace
