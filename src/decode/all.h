#pragma once

#include <memory>
#include <vector>

#include "decode/strategy.h"
#include "text/tokenizer.h"

namespace millrace {

// Every way of decoding; each finds its own sequences in a flight.
class Strategies final : public Strategy {
 public:
  explicit Strategies(const Tokenizer& tokenizer);

  void choose(Flight& flight) override;
  void accept(Flight& flight) override;
  void forget(SeqId sequence) override;

 private:
  std::vector<std::unique_ptr<Strategy>> all_;
};

}  // namespace millrace
