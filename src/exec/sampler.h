#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/system/lanes.h"
#include "core/draw_order.h"
#include "exec/logit_blocks.h"
#include "exec/ranking.h"
#include "tensor/view.h"

namespace millrace {

// Logits of some of the wanted rows that follow each other: of wants `first` and up.
struct WantedLogits {
  int32_t first = 0;
  Rows<const float> rows;  // [wants, vocab]
};

// Draws tokens where the logits are. What a row gets depends on its logits, its orders and its
// position alone: not on other rows nor on the number of lanes. A step allocates nothing once
// `output` has grown to its size.
class Sampler {
 public:
  Sampler(int64_t vocab, int lanes);

  // Gives `output` the shape that `orders` ask for: as many likeliest tokens as they want and the
  // vocabulary has. Once a step, before the lanes sample.
  void prepare(const DrawOrders& orders, StepOutput& output) const;

  // Fills `output` for the draws from `logits`, which come in order of their wants: this lane's
  // share; every lane calls it. positions: of all wanted rows in their sequences. A draw from a row
  // with an error gets token 0 and log-probability 0; where its logits themselves are at fault, its
  // `top` and `scored` are zeros as well. The draw: the first token, in order of ids, at which the
  // running sum of what was kept passes the row's random number.
  void sample(Lane& lane, const WantedLogits& logits, std::span<const int32_t> positions,
              const DrawOrders& orders, StepOutput& output);

  // Bytes of its working memory, on all lanes together.
  int64_t bytes() const;

 private:
  // A model's log-probabilities: its logits less what makes them so.
  struct Logprobs {
    std::span<const float> logits;
    double shift = 0;

    float of(TokenId token) const {
      return static_cast<float>(double{logits[static_cast<size_t>(token)]} - shift);
    }
  };
  // One lane's working memory, and what it does for one row.
  struct Workspace {
    explicit Workspace(int64_t vocab);
    void draw(std::span<const float> raw, int32_t position, const DrawOrders& orders, size_t index,
              StepOutput& output);
    Logprobs report(std::span<const float> raw, const DrawOrders& orders, size_t index,
                    StepOutput& output);
    TokenId choose(int32_t position, const DrawOrder& order);
    void narrow(const DrawOrder& order);
    void take_from(float least, float temperature);
    void take_likeliest(int64_t taken, float temperature);
    void take_mass(double mass, float temperature);
    void keep_until(uint64_t last, std::span<const float> ranked_by);
    int64_t bytes() const;

    LogitBlocks row;
    // The candidates, in the order of ids: the first `count` of each list, in whole fours.
    size_t count = 0;
    std::vector<TokenId> tokens;
    std::vector<float> logits;   // with penalties, bias and mask; minus infinity: no candidate
    std::vector<float> weights;  // zero: no candidate
    std::vector<float> scores;   // what they are ranked by where not by the logits
    Ranking ranking;
  };

  int64_t vocab_;
  std::vector<Workspace> workspaces_;  // [lanes]
};

}  // namespace millrace
