#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "core/params.h"

namespace millrace {

// What a model's makers say about drawing its answers, where a request does not: Hugging Face's
// generation_config.json.
struct AnswerDefaults {
  std::optional<float> temperature, top_p, min_p, repetition;
  std::optional<int32_t> top_k;
  std::vector<TokenId> ends;  // of answers, besides those of the vocabulary

  void fill(SamplingParams& sampling) const {
    sampling.temperature = temperature.value_or(sampling.temperature);
    sampling.top_p = top_p.value_or(sampling.top_p);
    sampling.min_p = min_p.value_or(sampling.min_p);
    sampling.repetition = repetition.value_or(sampling.repetition);
    sampling.top_k = top_k.value_or(sampling.top_k);
  }
  void add_ends(StopParams& stop) const {
    if (stop.ignore_eos || ends.empty()) return;
    std::vector<TokenId> tokens(stop.tokens.begin(), stop.tokens.end());
    tokens.insert(tokens.end(), ends.begin(), ends.end());
    stop.tokens = TokenSet(std::move(tokens));
  }
};

}  // namespace millrace
