#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "decode/propose/drafting.h"
#include "decode/propose/ngram.h"
#include "decode/propose/proposer.h"

namespace millrace {

// How an engine drafts (vLLM's --speculative-config).
struct SpeculationConfig {
  std::string method;  // one of draft_method_names(); empty: nothing is drafted
  DraftingOptions drafting = {.depth_max = 8, .nodes_max = 8};
  NgramOptions ngram;
};

std::span<const std::string_view> draft_method_names();

// What drafts under `config`, the method that it names first. Pre: the method is one of the names,
// or empty.
Proposers make_proposers(const SpeculationConfig& config);

}  // namespace millrace
