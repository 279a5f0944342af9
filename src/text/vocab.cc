#include "text/vocab.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "text/split_patterns.h"

namespace millrace {
namespace {

// The longest tokens of published vocabularies are runs of 128 to 512 spaces or line characters. A
// bound keeps what is done for each token at load, and for each byte of a text, small.
constexpr size_t kTokenBytesMax = 1024;

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kKinds = "tokenizer.ggml.token_type";

// Tokens that end a turn or a text in every family that has them, whether or not a file says so.
constexpr std::array<std::string_view, 10> kEndNames = {
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};

absl::Status check_length(std::string_view key, int64_t length, int32_t tokens) {
  if (length == tokens) return absl::OkStatus();
  return invalid_argument("metadata key '{}' has {} entries, the vocabulary has {} tokens", key,
                          length, tokens);
}

absl::StatusOr<std::optional<TokenId>> read_id(const Metadata& metadata, std::string_view key,
                                               int32_t tokens) {
  if (!metadata.has(key)) return std::optional<TokenId>();
  ASSIGN_OR_RETURN(const int64_t id, metadata.integer(key, 0, tokens - 1));
  return std::optional<TokenId>(static_cast<TokenId>(id));
}

absl::StatusOr<bool> default_add_bos(const Metadata& metadata, std::string_view pre) {
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string_or("tokenizer.ggml.model", ""));
  if (model == "llama" || model == "bert") return true;
  const SplitPattern* pattern = find_split_pattern(pre);
  return model == "gpt2" && pattern != nullptr && pattern->add_bos;
}

}  // namespace

absl::StatusOr<Vocab> Vocab::from(const Metadata& metadata, std::string_view pre) {
  Vocab vocab;
  RETURN_IF_ERROR(vocab.read_tokens(metadata));
  RETURN_IF_ERROR(vocab.read_kinds(metadata));
  RETURN_IF_ERROR(vocab.read_scores(metadata));
  RETURN_IF_ERROR(vocab.read_roles(metadata, pre));
  return vocab;
}

absl::Status Vocab::read_tokens(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const auto texts, metadata.strings(kTokens));
  if (texts.empty()) return invalid_argument("metadata key '{}' is empty", kTokens);
  if (texts.size() > size_t{std::numeric_limits<TokenId>::max()}) {
    return out_of_range("metadata key '{}' has {} tokens", kTokens, texts.size());
  }
  tokens_.resize(texts.size());
  index_.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() > kTokenBytesMax) {
      return invalid_argument("metadata key '{}', index {}: a token of {} bytes; at most {}",
                              kTokens, i, texts[i].size(), kTokenBytesMax);
    }
    tokens_[i].text = texts[i];
    if (texts[i].empty()) continue;
    const auto [place, is_new] = index_.try_emplace(tokens_[i].text, static_cast<TokenId>(i));
    if (!is_new) {
      return invalid_argument("metadata key '{}', index {}: the same token as index {}", kTokens, i,
                              place->second);
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

absl::Status Vocab::read_roles(const Metadata& metadata, std::string_view pre) {
  ASSIGN_OR_RETURN(bos_, read_id(metadata, "tokenizer.ggml.bos_token_id", size()));
  ASSIGN_OR_RETURN(eos_, read_id(metadata, "tokenizer.ggml.eos_token_id", size()));
  ASSIGN_OR_RETURN(unknown_, read_id(metadata, "tokenizer.ggml.unknown_token_id", size()));
  ASSIGN_OR_RETURN(const auto eot, read_id(metadata, "tokenizer.ggml.eot_token_id", size()));
  ASSIGN_OR_RETURN(const auto eom, read_id(metadata, "tokenizer.ggml.eom_token_id", size()));

  ASSIGN_OR_RETURN(const std::string_view model, metadata.string_or("tokenizer.ggml.model", ""));
  if (model == "bert") {  // whose texts stand between [CLS] and [SEP]; the key's spelling is GGUF's
    ASSIGN_OR_RETURN(const auto cls, read_id(metadata, "tokenizer.ggml.cls_token_id", size()));
    ASSIGN_OR_RETURN(const auto sep,
                     read_id(metadata, "tokenizer.ggml.seperator_token_id", size()));
    if (!bos_) bos_ = cls;
    if (!eos_) eos_ = sep;
  }
  const bool add_eos = (model == "bert" || model == "t5") && eos_.has_value();
  ASSIGN_OR_RETURN(const bool add_bos, default_add_bos(metadata, pre));
  ASSIGN_OR_RETURN(
      add_bos_, metadata.boolean_or("tokenizer.ggml.add_bos_token", add_bos && bos_.has_value()));
  ASSIGN_OR_RETURN(add_eos_, metadata.boolean_or("tokenizer.ggml.add_eos_token", add_eos));
  if (add_bos_ && !bos_) {
    return invalid_argument(
        "metadata key 'tokenizer.ggml.add_bos_token' is true, but there is no bos_token_id");
  }
  if (add_eos_ && !eos_) {
    return invalid_argument(
        "metadata key 'tokenizer.ggml.add_eos_token' is true, but there is no eos_token_id");
  }
  collect_ends({eos_, eot, eom});
  return absl::OkStatus();
}

void Vocab::collect_ends(std::initializer_list<std::optional<TokenId>> ids) {
  for (const std::optional<TokenId> id : ids) {
    if (id) ends_of_generation_.push_back(*id);
  }
  for (const std::string_view name : kEndNames) {
    const std::optional<TokenId> id = find(name);
    if (!id) continue;
    ends_of_generation_.push_back(*id);
    // Some files list these as plain text, which would let a message write them.
    tokens_[static_cast<size_t>(*id)].kind = TokenKind::kControl;
  }
  std::ranges::sort(ends_of_generation_);
  ends_of_generation_.erase(std::unique(ends_of_generation_.begin(), ends_of_generation_.end()),
                            ends_of_generation_.end());
}

std::optional<TokenId> Vocab::find(std::string_view text) const {
  const auto found = index_.find(text);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

bool Vocab::ends_generation(TokenId id) const {
  return std::ranges::binary_search(ends_of_generation_, id);
}

}  // namespace millrace
