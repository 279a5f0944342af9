#include "text/tokenizer.h"

#include <utility>

#include "text/bpe.h"
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

absl::StatusOr<std::unique_ptr<const Tokenizer>> create_bpe(Vocab vocab, const Metadata& metadata,
                                                            std::string_view pre) {
  const SplitPattern* pattern = find_split_pattern(pre.empty() ? "default" : pre);
  if (pattern == nullptr) {
    return unimplemented(
        "metadata key 'tokenizer.ggml.pre' is '{}'; the known ones, which --pre NAME chooses from, "
        "are {}",
        pre, known_split_patterns());
  }
  ASSIGN_OR_RETURN(const MergeList merges, read_merges(metadata));
  ASSIGN_OR_RETURN(Pretokenizer pretokenizer, Pretokenizer::create(pattern->used_steps()));
  return BpeTokenizer::create(std::move(vocab), merges,
                              {std::move(pretokenizer), pattern->ignore_merges});
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::create(const Metadata& metadata,
                                                                   std::string_view pre) {
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string("tokenizer.ggml.model"));
  if (model != "gpt2" && model != "llama") {
    return unimplemented(
        "metadata key 'tokenizer.ggml.model' is '{}'; the known ones are gpt2, llama", model);
  }
  if (pre.empty()) {
    ASSIGN_OR_RETURN(pre, metadata.string_or("tokenizer.ggml.pre", ""));
  }
  ASSIGN_OR_RETURN(Vocab vocab, Vocab::from(metadata, pre));
  return model == "gpt2" ? create_bpe(std::move(vocab), metadata, pre)
                         : SpmTokenizer::create(std::move(vocab), metadata);
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
  bool at_start = traits_.adds_space;
  for (const TokenId id : tokens) {
    if (options.skip_special && is_special(id)) continue;
    std::string_view bytes = piece(id);
    if (at_start && bytes.starts_with(' ')) bytes.remove_prefix(1);
    at_start = false;
    text += bytes;
  }
  return text;
}

}  // namespace millrace
