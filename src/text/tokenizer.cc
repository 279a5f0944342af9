#include "text/tokenizer.h"

#include <utility>

#include "text/bpe.h"
#include "text/rwkv.h"
#include "text/split_patterns.h"
#include "text/spm.h"
#include "text/unicode.h"

namespace millrace {

namespace {

constexpr std::string_view kMerges = "tokenizer.ggml.merges";

absl::StatusOr<MergeList> read_merges(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const auto lines, metadata.strings(kMerges));
  MergeList merges{"metadata key 'tokenizer.ggml.merges'", {}};
  merges.pairs.reserve(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t space = lines[i].find(' ', 1);
    if (space == std::string_view::npos) {
      return invalid_argument("{}, index {}: not two tokens with a space between", merges.key, i);
    }
    merges.pairs.emplace_back(lines[i].substr(0, space), lines[i].substr(space + 1));
  }
  return merges;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> create_spm(Vocab vocab, const Metadata& metadata,
                                                            bool by_merges) {
  SpmTokenizer::Rules rules;
  ASSIGN_OR_RETURN(rules.adds_space,
                   metadata.boolean_or("tokenizer.ggml.add_space_prefix", !by_merges));
  ASSIGN_OR_RETURN(rules.removes_spaces,
                   metadata.boolean_or("tokenizer.ggml.remove_extra_whitespaces", false));
  if (by_merges) {
    ASSIGN_OR_RETURN(const MergeList merges, read_merges(metadata));
    return SpmTokenizer::create(std::move(vocab), &merges, rules);
  }
  if (!metadata.has("tokenizer.ggml.scores")) {
    return not_found("metadata key 'tokenizer.ggml.scores' is missing");
  }
  return SpmTokenizer::create(std::move(vocab), nullptr, rules);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> create_bpe(Vocab vocab, const Metadata& metadata,
                                                            std::string_view pre) {
  const SplitPattern* pattern = find_split_pattern(pre.empty() ? "default" : pre);
  if (pattern == nullptr) {
    return unimplemented(
        "the split pattern '{}' (metadata key 'tokenizer.ggml.pre', or --pre NAME) is not one of "
        "the "
        "known: {}",
        pre, known_split_patterns());
  }
  if (pattern->of_characters) return create_spm(std::move(vocab), metadata, /*by_merges=*/true);
  ASSIGN_OR_RETURN(const MergeList merges, read_merges(metadata));
  ASSIGN_OR_RETURN(Pretokenizer pretokenizer, Pretokenizer::create(pattern->used_steps()));
  return BpeTokenizer::create(
      std::move(vocab), merges,
      {.pretokenizer = std::move(pretokenizer), .ignore_merges = pattern->ignore_merges});
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::create(const Metadata& metadata,
                                                                   std::string_view pre) {
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string("tokenizer.ggml.model"));
  if (model == "none" || model == "no_vocab") {
    return not_found("the model has no vocabulary: metadata key 'tokenizer.ggml.model' is '{}'",
                     model);
  }
  constexpr std::string_view kKnown = "gpt2, llama, gemma4, rwkv";
  if (model != "gpt2" && model != "llama" && model != "gemma4" && model != "rwkv") {
    return unimplemented("metadata key 'tokenizer.ggml.model' is '{}'; the known ones are {}",
                         model, kKnown);
  }
  if (pre.empty()) {
    ASSIGN_OR_RETURN(pre, metadata.string_or("tokenizer.ggml.pre", ""));
  }
  ASSIGN_OR_RETURN(Vocab vocab, Vocab::from(metadata, pre));
  if (model == "rwkv") return RwkvTokenizer::create(std::move(vocab));
  if (model == "gpt2") return create_bpe(std::move(vocab), metadata, pre);
  return create_spm(std::move(vocab), metadata, /*by_merges=*/model == "gemma4");
}

Tokenizer::Tokenizer(Vocab vocab, PiecesOf* pieces_of, Traits traits)
    : vocab_(std::move(vocab)), specials_(vocab_), traits_(traits) {
  piece_ends_.reserve(static_cast<size_t>(vocab_.size()));
  for (const std::string& piece : pieces_of(vocab_)) {
    piece_bytes_ += piece;
    piece_ends_.push_back(piece_bytes_.size());
  }
}

std::string_view Tokenizer::piece(TokenId id) const {
  if (!vocab_.contains(id)) return {};
  const auto i = static_cast<size_t>(id);
  const size_t begin = i == 0 ? 0 : piece_ends_[i - 1];
  return std::string_view(piece_bytes_).substr(begin, piece_ends_[i] - begin);
}

// As sentencepiece_processor.cc of SentencePiece does in Decode.
std::string_view Tokenizer::next_piece(TokenId id, bool& at_start) const {
  std::string_view bytes = piece(id);
  if (!at_start) return bytes;
  const bool strips = (traits_.adds_space || traits_.removes_spaces) && !is_special(id);
  const bool stripped = strips && bytes.starts_with(' ');
  if (stripped) bytes.remove_prefix(1);
  // Where spaces are removed one could go on for ever: each token loses its own.
  at_start = bytes.empty() && (!stripped || traits_.removes_spaces);
  return bytes;
}

bool Tokenizer::is_special(TokenId id) const {
  return vocab_.contains(id) &&
         (vocab_.kind(id) == TokenKind::kControl || vocab_.kind(id) == TokenKind::kUnknown);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return encode(text, {}, options);
}

std::vector<TokenId> Tokenizer::encode(const MarkedText& text, const EncodeOptions& options) const {
  return encode(text.text, text.written, options);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, std::span<const ByteRange> written,
                                       const EncodeOptions& options) const {
  if (!traits_.any_bytes && !is_utf8(text)) {
    std::vector<ByteRange> moved(written.begin(), written.end());
    const std::string whole = replace_invalid(text, moved);
    return encode(whole, moved, options);
  }
  std::vector<TokenId> tokens;
  tokens.reserve(text.size() / 4 + 2);  // English has four to five bytes a token
  if (options.add_special && vocab_.add_bos()) tokens.push_back(*vocab_.bos());
  size_t at = 0;
  const auto plain_up_to = [&](size_t end) {
    if (end > at) encode_plain(text.substr(at, end - at), tokens);
  };
  for (const auto& special : specials_.find(text, written, options.parse_special)) {
    plain_up_to(special.begin);
    tokens.push_back(special.id);
    at = special.end;
  }
  plain_up_to(text.size());
  if (options.add_special && vocab_.add_eos()) tokens.push_back(*vocab_.eos());
  return tokens;
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, const DecodeOptions& options) const {
  std::string text;
  bool at_start = true;
  for (const TokenId id : tokens) {
    if (!options.skip_special || !is_special(id)) text += next_piece(id, at_start);
  }
  return text;
}

}  // namespace millrace
