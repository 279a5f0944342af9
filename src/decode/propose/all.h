#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "decode/propose/draft_model.h"
#include "decode/propose/ngram.h"
#include "decode/propose/proposer.h"
#include "decode/propose/suffix.h"

namespace millrace {

// Which model drafts, and how.
struct DraftModelConfig {
  std::string path;        // a file or a folder
  int32_t head_rows = 0;   // tokens that it can draft, the first of the vocabulary; 0: all
  int32_t tree_width = 1;  // as DraftModelOptions::tree_width
  double chance_min = 0;
  int32_t depth_min = 0;
};

// How an engine drafts (vLLM's --speculative-config).
struct SpeculationConfig {
  std::vector<std::string> methods;  // of draft_method_names(); empty: nothing is drafted
  DraftingOptions drafting = {.depth_max = 8, .nodes_max = 8};
  NgramOptions ngram;
  SuffixOptions suffix;
  DraftModelConfig draft_model;
};

std::span<const std::string_view> draft_method_names();
bool drafts_by_model(const SpeculationConfig& config);

// What drafts under `config`, in the order of its methods. Pre: each is one of the names, and
// `draft_model` is there where it is among them.
Proposers make_proposers(const SpeculationConfig& config,
                         std::unique_ptr<Proposer> draft_model = nullptr);

}  // namespace millrace
