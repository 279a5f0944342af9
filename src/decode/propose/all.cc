#include "decode/propose/all.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

struct Method {
  std::string_view name;
  std::unique_ptr<Proposer> (*make)(const SpeculationConfig&);  // null: it is given
};

constexpr Method kMethods[] = {
    {"ngram",
     [](const SpeculationConfig& config) -> std::unique_ptr<Proposer> {
       return std::make_unique<NgramProposer>(config.ngram);
     }},
    {"suffix",
     [](const SpeculationConfig& config) -> std::unique_ptr<Proposer> {
       return std::make_unique<SuffixProposer>(config.suffix);
     }},
    {DraftModelProposer::kMethod, nullptr},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kMethods)> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kMethods[i].name;
  return names;
}();

}  // namespace

std::span<const std::string_view> draft_method_names() { return kNames; }

bool drafts_by_model(const SpeculationConfig& config) {
  return std::ranges::count(config.methods, DraftModelProposer::kMethod) > 0;
}

Proposers make_proposers(const SpeculationConfig& config, std::unique_ptr<Proposer> draft_model) {
  Proposers proposers;
  for (const std::string& name : config.methods) {
    const auto method = std::ranges::find(kMethods, name, &Method::name);
    CHECK(method != std::end(kMethods), "no method is called {}", name);
    proposers.push_back(method->make ? method->make(config) : std::move(draft_model));
    CHECK(proposers.back() != nullptr, "no proposer for {}", name);
  }
  return proposers;
}

}  // namespace millrace
