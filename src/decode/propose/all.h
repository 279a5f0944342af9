#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "decode/propose/ngram.h"
#include "decode/propose/proposer.h"
#include "decode/propose/suffix.h"

namespace millrace {

// How an engine drafts (vLLM's --speculative-config).
struct SpeculationConfig {
  std::vector<std::string> methods;  // of draft_method_names(); empty: nothing is drafted
  DraftingOptions drafting = {.depth_max = 8, .nodes_max = 8};
  NgramOptions ngram;
  SuffixOptions suffix;
};

std::span<const std::string_view> draft_method_names();

// What drafts under `config`, in the order of its methods. Pre: each is one of the names.
Proposers make_proposers(const SpeculationConfig& config);

}  // namespace millrace
