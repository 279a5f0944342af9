#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <utility>

#include "base/check.h"
#include "text/split/split_patterns.h"
#include "text/tokenizer_json/readers.h"
#include "text/unicode/bert_classes.h"

namespace millrace {
namespace {

using Change = WordCutter::Change;

constexpr std::string_view kRegexWordChars =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9})"
    R"(\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

std::string literal(std::string_view text) {
  std::string expression;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       static_cast<uint8_t>(c) >= 0x80;
    if (!plain) expression += '\\';
    expression += c;
  }
  return expression;
}

SplitStep with_scan(SplitStep step) {
  for (const SplitPattern& pattern : split_patterns()) {
    for (const SplitStep& known : pattern.used_steps()) {
      if (known.expression == step.expression && known.scan) step.scan = known.scan;
    }
  }
  return step;
}

absl::StatusOr<SplitBehaviour> read_behaviour(const JsonNode& node) {
  struct Named {
    std::string_view name;
    SplitBehaviour behaviour;
  };
  constexpr std::array kNames = {Named{"Removed", SplitBehaviour::kRemoved},
                                 Named{"Isolated", SplitBehaviour::kIsolated},
                                 Named{"MergedWithPrevious", SplitBehaviour::kMergedWithPrevious},
                                 Named{"MergedWithNext", SplitBehaviour::kMergedWithNext},
                                 Named{"Contiguous", SplitBehaviour::kContiguous}};
  ASSIGN_OR_RETURN(const std::string_view name, node.string_or("Isolated"));
  const auto found = std::ranges::find(kNames, name, &Named::name);
  if (found == kNames.end()) return node.not_done(fmt::format("is '{}', not known", name));
  return found->behaviour;
}

class CutterReader {
 public:
  absl::Status add(std::string_view type, const JsonNode& node) {
    // Only a step that comes last may leave the spelling to the model.
    if (std::exchange(spells_, false)) begin(Change::kSpellBytes);
    if (type == "Split") return add_split(node);
    if (type == "ByteLevel") return add_byte_level(node);
    if (type == "Metaspace") return add_metaspace(node);
    if (type == "Digits") return add_digits(node);
    if (type == "Punctuation") return add_punctuation(node);
    if (type == "CharDelimiterSplit") return add_delimiter(node);
    if (type == "Whitespace") {
      const std::string words = fmt::format("[{0}]+|[^{0}\\s]+", kRegexWordChars);
      return add_cut(node,
                     {.expression = words, .behaviour = SplitBehaviour::kRemoved, .invert = true});
    }
    if (type == "WhitespaceSplit") {
      return add_cut(node, {.expression = R"(\s)", .behaviour = SplitBehaviour::kRemoved});
    }
    if (type == "BertPreTokenizer") {
      for (const SplitStep& step : bert_words()) RETURN_IF_ERROR(add_cut(node, step));
      return absl::OkStatus();
    }
    return node.not_done(fmt::format("is a '{}'; such a pre-tokenizer is not known", type));
  }

  absl::StatusOr<ReadCutter> finish(bool model_reads_bytes) {
    if (spells_ && !model_reads_bytes) begin(Change::kSpellBytes);
    ReadCutter read{.byte_level = spells_ && model_reads_bytes};
    for (Draft& draft : drafts_) {
      ASSIGN_OR_RETURN(Pretokenizer cut, Pretokenizer::create(draft.steps));
      read.cutter.add({draft.change, std::move(draft.mark), std::move(cut)});
    }
    return read;
  }

 private:
  // A stage of the cutter, while cuts are added to it.
  struct Draft {
    Change change = Change::kNone;
    std::string mark;
    std::vector<SplitStep> steps;
  };

  void begin(Change change, std::string mark = {}) {
    drafts_.push_back({change, std::move(mark), {}});
  }

  absl::Status add_cut(const JsonNode& node, SplitStep step) {
    step = with_scan(step);
    if (const auto tried = Pretokenizer::create({&step, 1}); !tried.ok()) {
      return node.error(fmt::format("cannot be used: {}", message_of(tried.status())));
    }
    if (drafts_.empty()) begin(Change::kNone);
    step.expression = expressions_.emplace_back(step.expression);
    drafts_.back().steps.push_back(step);
    return absl::OkStatus();
  }

  absl::Status add_split(const JsonNode& node) {
    ASSIGN_OR_RETURN(const JsonNode pattern_node, node.at("pattern"));
    ASSIGN_OR_RETURN(const ReadPattern pattern, read_pattern(pattern_node));
    ASSIGN_OR_RETURN(const JsonNode behaviour_node, node.at("behavior"));
    ASSIGN_OR_RETURN(const SplitBehaviour behaviour, read_behaviour(behaviour_node));
    ASSIGN_OR_RETURN(const bool invert, node.boolean_at("invert", false));
    const std::string expression =
        pattern.text.empty() ? pattern.expression : literal(pattern.text);
    return add_cut(pattern_node, {expression, behaviour, invert});
  }

  absl::Status add_byte_level(const JsonNode& node) {
    ASSIGN_OR_RETURN(const bool prefix, node.boolean_at("add_prefix_space", true));
    ASSIGN_OR_RETURN(const bool cuts, node.boolean_at("use_regex", true));
    if (prefix) begin(Change::kStartWithSpace);
    if (cuts) {
      const SplitPattern* const gpt2 = find_split_pattern("gpt-2");
      CHECK(gpt2 != nullptr, "no split pattern of gpt-2");
      RETURN_IF_ERROR(add_cut(node, gpt2->used_steps().front()));
    }
    spells_ = true;
    return absl::OkStatus();
  }

  absl::Status add_metaspace(const JsonNode& node) {
    ASSIGN_OR_RETURN(const ReadMetaspace read, read_metaspace(node));
    ASSIGN_OR_RETURN(const bool cuts, node.boolean_at("split", true));
    using Prepend = ReadMetaspace::Prepend;
    begin(read.prepend == Prepend::kAlways  ? Change::kMarkSpacesAndStart
          : read.prepend == Prepend::kFirst ? Change::kMarkSpacesAndTextStart
                                            : Change::kMarkSpaces,
          read.mark);
    if (!cuts) return absl::OkStatus();
    const std::string expression = literal(read.mark);
    return add_cut(node, {expression, SplitBehaviour::kMergedWithNext});
  }

  absl::Status add_digits(const JsonNode& node) {
    ASSIGN_OR_RETURN(const bool each, node.boolean_at("individual_digits", false));
    return add_cut(node,
                   {R"(\p{N})", each ? SplitBehaviour::kIsolated : SplitBehaviour::kContiguous});
  }

  absl::Status add_punctuation(const JsonNode& node) {
    ASSIGN_OR_RETURN(const JsonNode behaviour_node, node.at("behavior"));
    ASSIGN_OR_RETURN(const SplitBehaviour behaviour, read_behaviour(behaviour_node));
    return add_cut(node, {kBertPunctuation, behaviour});
  }

  absl::Status add_delimiter(const JsonNode& node) {
    ASSIGN_OR_RETURN(const JsonNode delimiter_node, node.at("delimiter"));
    ASSIGN_OR_RETURN(const std::string_view delimiter, delimiter_node.string());
    if (delimiter.empty()) return delimiter_node.error("is empty");
    const std::string expression = literal(delimiter);
    return add_cut(delimiter_node, {expression, SplitBehaviour::kRemoved});
  }

  std::vector<Draft> drafts_;
  std::deque<std::string> expressions_;  // what the drafts' steps point into
  bool spells_ = false;                  // bytes are to be spelled before what comes next
};

}  // namespace

absl::StatusOr<ReadCutter> read_cutter(const JsonNode& node, bool model_reads_bytes) {
  CutterReader reader;
  RETURN_IF_ERROR(for_each_part(
      node, "pretokenizers",
      [&](std::string_view type, const JsonNode& part) { return reader.add(type, part); }));
  return reader.finish(model_reads_bytes);
}

}  // namespace millrace
