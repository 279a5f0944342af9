#include "text/vocab.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <span>

#include "text/split/split_patterns.h"

namespace millrace {
namespace {

// The longest tokens of published vocabularies are runs of 128 to 512 spaces or line characters. A
// bound keeps what is done for each token at load, and for each byte of a text, small.
constexpr size_t kTokenBytesMax = 1024;

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kKinds = "tokenizer.ggml.token_type";

using Names = std::span<const std::string_view>;

// Spellings that published vocabularies have for one thing, whether or not their files say so. "｜"
// is U+FF5C, "▁" U+2581.
constexpr std::array<std::string_view, 10> kEndOfTurnNames = {
    "<|eot_id|>",      "<|im_end|>", "<|end|>", "<end_of_turn>",         "<|endoftext|>",
    "<|end_of_text|>", "<EOT>",      "_<EOT>",  "<｜end▁of▁sentence｜>", "<end_of_utterance>"};
constexpr std::array<std::string_view, 1> kEndOfMessageNames = {"<|eom_id|>"};
constexpr std::array<std::string_view, 7> kOtherEndNames = {
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<turn|>", "<|tool_response>", "[e~["};
// Ends as well, but in some vocabularies words like others.
constexpr std::array<std::string_view, 4> kEndNamesIfControl = {"</s>", "<eos>", "[EOS]", "[EOT]"};

constexpr std::array<std::string_view, 8> kInfillPrefixNames = {
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",    "<｜fim▁begin｜>",
    "<PRE>",          "▁<PRE>",       "<|code_prefix|>", "<|prefix|>"};
constexpr std::array<std::string_view, 8> kInfillSuffixNames = {
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",    "<｜fim▁hole｜>",
    "<SUF>",          "▁<SUF>",       "<|code_suffix|>", "<|suffix|>"};
constexpr std::array<std::string_view, 8> kInfillMiddleNames = {
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>",    "<｜fim▁end｜>",
    "<MID>",          "▁<MID>",       "<|code_middle|>", "<|middle|>"};
constexpr std::array<std::string_view, 4> kInfillPaddingNames = {"<|fim_pad|>", "<fim-pad>",
                                                                 "<fim_pad>", "<PAD>"};
constexpr std::array<std::string_view, 5> kRepositoryNames = {"<|fim_repo|>", "<|repo_name|>",
                                                              "<fim-repo>", "<REPO>", "<reponame>"};
constexpr std::array<std::string_view, 1> kFileNames = {"<|file_sep|>"};

absl::Status check_length(std::string_view key, int64_t length, int32_t tokens) {
  if (length == tokens) return absl::OkStatus();
  return invalid_argument("metadata key '{}' has {} entries, the vocabulary has {} tokens", key,
                          length, tokens);
}

constexpr int64_t kNoToken = std::numeric_limits<uint32_t>::max();

absl::StatusOr<std::optional<TokenId>> read_id(const Metadata& metadata, std::string_view key,
                                               int32_t tokens) {
  if (!metadata.has(key)) return std::optional<TokenId>();
  // Some converters write -1 for no token, into an unsigned number.
  const absl::StatusOr<int64_t> none = metadata.integer(key, kNoToken, kNoToken);
  if (none.ok()) return std::optional<TokenId>();
  ASSIGN_OR_RETURN(const int64_t id, metadata.integer(key, 0, tokens - 1));
  return std::optional<TokenId>(static_cast<TokenId>(id));
}

absl::StatusOr<bool> default_add_bos(const Metadata& metadata, std::string_view pre) {
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string_or("tokenizer.ggml.model", ""));
  if (model == "llama" || model == "bert") return true;
  const SplitPattern* pattern = find_split_pattern(model == "gemma4" ? model : pre);
  return (model == "gpt2" || model == "gemma4") && pattern != nullptr && pattern->add_bos;
}

bool names_one_of(std::string_view text, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(
      names, [text](std::string_view name) { return text.find(name) != std::string_view::npos; });
}

// Phi-3's tokens that do not take the spaces behind them along.
bool is_phi3_keeping(std::string_view text) {
  return text == "<unk>" || text == "<s>" || text == "<|endoftext|>";
}

}  // namespace

absl::StatusOr<Vocab> Vocab::from(const Metadata& metadata, std::string_view pre) {
  Vocab vocab;
  RETURN_IF_ERROR(vocab.read_tokens(metadata));
  RETURN_IF_ERROR(vocab.read_kinds(metadata));
  RETURN_IF_ERROR(vocab.read_scores(metadata));
  RETURN_IF_ERROR(vocab.read_roles(metadata));
  RETURN_IF_ERROR(vocab.read_infill(metadata));
  RETURN_IF_ERROR(vocab.read_additions(metadata, pre));
  vocab.collect_ends();
  RETURN_IF_ERROR(vocab.read_strips(metadata, pre));
  return vocab;
}

absl::Status Vocab::read_tokens(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const auto texts, metadata.strings(kTokens));
  if (texts.empty()) return invalid_argument("metadata key '{}' is empty", kTokens);
  if (texts.size() > size_t{std::numeric_limits<TokenId>::max()}) {
    return out_of_range("metadata key '{}' has {} tokens", kTokens, texts.size());
  }
  size_t bytes = 0;
  for (const std::string_view text : texts) bytes += text.size();
  tokens_.resize(texts.size());
  texts_.reserve(bytes);
  index_ = TextIndex(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() > kTokenBytesMax) {
      return invalid_argument("metadata key '{}', index {}: a token of {} bytes; at most {}",
                              kTokens, i, texts[i].size(), kTokenBytesMax);
    }
    texts_.insert(texts_.end(), texts[i].begin(), texts[i].end());
    tokens_[i].text_end = texts_.size();
    if (texts[i].empty()) continue;
    const auto number = static_cast<TokenId>(i);
    const TokenId first = index_.insert(texts[i], number, [this](TokenId id) { return text(id); });
    if (first != number) {
      return invalid_argument("metadata key '{}', index {}: the same token as index {}", kTokens, i,
                              first);
    }
  }
  return absl::OkStatus();
}

absl::Status Vocab::read_kinds(const Metadata& metadata) {
  if (!metadata.has(kKinds)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto kinds, metadata.integers(kKinds));
  RETURN_IF_ERROR(check_length(kKinds, std::ssize(kinds), size()));
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] < int64_t{1} || kinds[i] > int64_t{6}) {
      return invalid_argument("metadata key '{}', index {}: {} is no kind of token (1 to 6)",
                              kKinds, i, kinds[i]);
    }
    tokens_[i].kind = static_cast<TokenKind>(kinds[i]);
  }
  return absl::OkStatus();
}

absl::Status Vocab::read_scores(const Metadata& metadata) {
  if (!metadata.has(kScores)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto scores, metadata.numbers(kScores));
  RETURN_IF_ERROR(check_length(kScores, std::ssize(scores), size()));
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!(std::fabs(scores[i]) <= double{std::numeric_limits<float>::max()})) {
      return invalid_argument("metadata key '{}', index {}: not a finite number", kScores, i);
    }
    tokens_[i].score = static_cast<float>(scores[i]);
  }
  return absl::OkStatus();
}

absl::Status Vocab::read_roles(const Metadata& metadata) {
  const auto read = [&](std::string_view key) { return read_id(metadata, key, size()); };
  ASSIGN_OR_RETURN(roles_.bos, read("tokenizer.ggml.bos_token_id"));
  ASSIGN_OR_RETURN(roles_.eos, read("tokenizer.ggml.eos_token_id"));
  ASSIGN_OR_RETURN(roles_.end_of_turn, read("tokenizer.ggml.eot_token_id"));
  ASSIGN_OR_RETURN(roles_.end_of_message, read("tokenizer.ggml.eom_token_id"));
  ASSIGN_OR_RETURN(roles_.unknown, read("tokenizer.ggml.unknown_token_id"));
  // GGUF's own spelling.
  ASSIGN_OR_RETURN(roles_.separator, read("tokenizer.ggml.seperator_token_id"));
  ASSIGN_OR_RETURN(roles_.padding, read("tokenizer.ggml.padding_token_id"));
  ASSIGN_OR_RETURN(roles_.mask, read("tokenizer.ggml.mask_token_id"));
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string_or("tokenizer.ggml.model", ""));
  if (model == "bert") {  // whose texts stand between [CLS] and [SEP]
    ASSIGN_OR_RETURN(const auto cls, read("tokenizer.ggml.cls_token_id"));
    if (!roles_.bos) roles_.bos = cls;
    if (!roles_.eos) roles_.eos = roles_.separator;
  }
  if (!roles_.end_of_turn) roles_.end_of_turn = find_control(kEndOfTurnNames);
  if (!roles_.end_of_message) roles_.end_of_message = find_control(kEndOfMessageNames);
  return absl::OkStatus();
}

absl::Status Vocab::read_infill(const Metadata& metadata) {
  struct Part {
    std::optional<TokenId>& id;
    std::string_view key;
    std::string_view old_key;
    Names names;
  };
  const std::array parts = {
      Part{infill_.prefix, "fim_pre_token_id", "prefix_token_id", kInfillPrefixNames},
      Part{infill_.suffix, "fim_suf_token_id", "suffix_token_id", kInfillSuffixNames},
      Part{infill_.middle, "fim_mid_token_id", "middle_token_id", kInfillMiddleNames},
      Part{infill_.padding, "fim_pad_token_id", "", kInfillPaddingNames},
      Part{infill_.repository, "fim_rep_token_id", "", kRepositoryNames},
      Part{infill_.file, "fim_sep_token_id", "", kFileNames}};
  for (const Part& part : parts) {
    for (const std::string_view key : {part.key, part.old_key}) {
      if (part.id || key.empty()) continue;
      ASSIGN_OR_RETURN(part.id, read_id(metadata, fmt::format("tokenizer.ggml.{}", key), size()));
    }
    if (!part.id) part.id = find_control(part.names);
  }
  return absl::OkStatus();
}

absl::Status Vocab::read_additions(const Metadata& metadata, std::string_view pre) {
  ASSIGN_OR_RETURN(const bool add_bos, default_add_bos(metadata, pre));
  ASSIGN_OR_RETURN(
      add_bos_, metadata.boolean_or("tokenizer.ggml.add_bos_token", add_bos && bos().has_value()));
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string_or("tokenizer.ggml.model", ""));
  const bool add_eos = (model == "bert" || model == "t5") && eos().has_value();
  ASSIGN_OR_RETURN(add_eos_, metadata.boolean_or("tokenizer.ggml.add_eos_token", add_eos));
  if (add_bos_ && !bos()) {
    return invalid_argument(
        "metadata key 'tokenizer.ggml.add_bos_token' is true, but there is no bos_token_id");
  }
  if (add_eos_ && !eos()) {
    return invalid_argument(
        "metadata key 'tokenizer.ggml.add_eos_token' is true, but there is no eos_token_id");
  }
  return absl::OkStatus();
}

// GGUF has no key for this: the models that strip are known by name, and what they strip is in
// their tokenizer.json.
absl::Status Vocab::read_strips(const Metadata& metadata, std::string_view pre) {
  ASSIGN_OR_RETURN(const std::string_view arch, metadata.string_or("general.architecture", ""));
  ASSIGN_OR_RETURN(const std::string_view named, metadata.string_or("general.name", ""));
  std::string name(named);
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;

  if (names_one_of(pre, {"jina-v2-de", "jina-v2-es", "jina-v2-code"}) || arch == "nomic-bert-moe" ||
      arch == "jina-bert-v3") {
    if (const auto mask = find("<mask>")) set_strips(*mask, {.left = true});
  } else if (names_one_of(name, {"modern-bert"})) {
    if (const auto mask = find("[MASK]")) set_strips(*mask, {.left = true});
  } else if (names_one_of(name, {"phi-3", "phi3"})) {
    for (TokenId id = 0; id < size(); ++id) {
      const bool special = kind(id) == TokenKind::kControl || kind(id) == TokenKind::kUserDefined ||
                           kind(id) == TokenKind::kUnknown || text(id) == "</s>";
      set_strips(id, {.right = special && !is_phi3_keeping(text(id))});
    }
  }
  return absl::OkStatus();
}

// The first of these that there is. Some files list them as plain text, which would let a message
// write them.
std::optional<TokenId> Vocab::find_control(Names names) {
  for (const std::string_view name : names) {
    const std::optional<TokenId> id = find(name);
    if (!id) continue;
    tokens_[static_cast<size_t>(*id)].kind = TokenKind::kControl;
    return id;
  }
  return std::nullopt;
}

void Vocab::collect_ends() {
  std::vector<TokenId>& ends = ends_of_generation_;
  const auto add = [&ends](std::optional<TokenId> id) {
    if (id) ends.push_back(*id);
  };
  for (const Names names :
       {Names(kEndOfTurnNames), Names(kEndOfMessageNames), Names(kOtherEndNames)}) {
    for (const std::string_view& name : names) add(find_control({&name, 1}));
  }
  for (const std::string_view name : kEndNamesIfControl) {
    const auto id = find(name);
    if (id && kind(*id) == TokenKind::kControl) add(id);
  }
  // Where an answer ends with one of these, <|end|> only ends a part of it.
  const auto ends_parts = find("<|end|>");
  if (ends_parts &&
      ((find("<|return|>") && find("<|call|>")) || (find("<|calls|>") && find("<|flush|>")))) {
    std::erase(ends, *ends_parts);
    if (roles_.end_of_turn == ends_parts) roles_.end_of_turn.reset();
  }
  for (const auto id : {eos(), end_of_turn(), end_of_message(), infill_.padding, infill_.repository,
                        infill_.file}) {
    add(id);
  }
  std::ranges::sort(ends);
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

std::optional<TokenId> Vocab::find(std::string_view text) const {
  return index_.find(text, [this](TokenId id) { return this->text(id); });
}

bool Vocab::ends_generation(TokenId id) const {
  return std::ranges::binary_search(ends_of_generation_, id);
}

}  // namespace millrace
