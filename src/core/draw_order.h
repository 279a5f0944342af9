#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "core/csr.h"

namespace millrace {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

struct TokenBias {
  TokenId token = 0;
  float bias = 0;  // may be minus infinity: never this token
};

struct TokenCount {
  TokenId token = 0;
  int32_t in_prompt = 0;
  int32_t in_output = 0;
};

enum class DrawKind : uint8_t {
  kDraw,   // choose a token
  kScore,  // only log-probabilities: of `scored`, and the likeliest
};

// What to draw from one wanted row. Several may name the same row: the choices of one prompt,
// beams.
struct DrawOrder {
  int32_t want = 0;  // index into Batch::wants
  DrawKind kind = DrawKind::kDraw;
  float temperature = 1, top_p = 1, min_p = 0, typical = 1;
  float repetition = 1, presence = 0, frequency = 0;
  int32_t top_k = 0;
  int32_t logprobs = -1;  // how many likeliest tokens to report; -1: not even the drawn one's
  int32_t choice = 0;     // with seed and the row's position: the random key
  uint64_t seed = 0;
  // Of DrawOrders' flat arrays.
  Range mask =
      {};  // words of DrawOrders::mask: bit t set, token t allowed, no others; empty: all are
  Range bias = {}, counts = {}, scored = {};
};

// What to draw in one step.
struct DrawOrders {
  std::vector<DrawOrder> draws;  // their wants ascend
  std::vector<uint32_t> mask;
  std::vector<TokenBias> bias;
  std::vector<TokenCount> counts;
  std::vector<TokenId> scored;

  void clear() {
    draws.clear();
    mask.clear();
    bias.clear();
    counts.clear();
    scored.clear();
  }
};

// A row whose logits are not numbers, or whose every token is forbidden, fails its own request
// only.
enum class RowError : uint8_t { kNone, kNotANumber, kNothingAllowed };

struct Drawn {
  TokenId token = 0;
  float logprob = 0;  // of the token under the model's own distribution: before temperature,
                      // penalties, bias and masks
  RowError error = RowError::kNone;
};

// What came back from one step.
struct StepOutput {
  std::vector<Drawn> drawn;   // [DrawOrders::draws]
  Csr<TokenLogprob> top;      // [DrawOrders::draws] likeliest first, ties by lower id
  std::vector<float> scored;  // [DrawOrders::scored] log-probabilities

  void clear() {
    drawn.clear();
    top.clear();
    scored.clear();
  }
};

}  // namespace millrace
