#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "text/models/rwkv.h"
#include "text/models/spm.h"
#include "text/pipeline/gguf_pipelines.h"
#include "text/split/split_patterns.h"
#include "text/unicode/unicode.h"

namespace millrace {

namespace {

constexpr std::string_view kMerges = "tokenizer.ggml.merges";

absl::StatusOr<MergeList> read_merges(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const auto lines, metadata.strings(kMerges));
  MergeList merges{"metadata key 'tokenizer.ggml.merges', index ", ""};
  merges.pairs.reserve(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t space = lines[i].find(' ', 1);
    if (space == std::string_view::npos) {
      return merges.error(i, "not two tokens with a space between");
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
  return create_byte_level(std::move(vocab), merges, *pattern);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::create(const Metadata& metadata,
                                                                   std::string_view pre) {
  ASSIGN_OR_RETURN(const std::string_view model, metadata.string("tokenizer.ggml.model"));
  if (model == "none" || model == "no_vocab") {
    return not_found("the model has no vocabulary: metadata key 'tokenizer.ggml.model' is '{}'",
                     model);
  }
  constexpr std::array kModels = {"gpt2", "llama", "gemma4", "t5", "bert", "rwkv"};
  if (std::ranges::find(kModels, model) == kModels.end()) {
    return unimplemented("metadata key 'tokenizer.ggml.model' is '{}'; the known ones are {}",
                         model, fmt::join(kModels, ", "));
  }
  if (pre.empty()) {
    ASSIGN_OR_RETURN(pre, metadata.string_or("tokenizer.ggml.pre", ""));
  }
  ASSIGN_OR_RETURN(Vocab vocab, Vocab::from(metadata, pre));
  if (model == "rwkv") return RwkvTokenizer::create(std::move(vocab));
  if (model == "t5") return create_unigram(std::move(vocab), metadata);
  if (model == "bert") return create_wordpiece(std::move(vocab));
  if (model == "gpt2") return create_bpe(std::move(vocab), metadata, pre);
  return create_spm(std::move(vocab), metadata, /*by_merges=*/model == "gemma4");
}

Tokenizer::Frame Tokenizer::frame_of(const Vocab& vocab) {
  Frame frame;
  if (vocab.add_bos()) frame.before.push_back(*vocab.bos());
  if (vocab.add_eos()) frame.after.push_back(*vocab.eos());
  return frame;
}

Tokenizer::Tokenizer(Vocab vocab, PieceOf piece_of, Traits traits)
    : Tokenizer(std::make_shared<const Vocab>(std::move(vocab)), piece_of, {}, traits) {
  specials_.emplace(*vocab_);
  frame_ = frame_of(*vocab_);
}

Tokenizer::Tokenizer(std::shared_ptr<const Vocab> vocab, PieceOf piece_of, Frame frame,
                     Traits traits)
    : vocab_(std::move(vocab)), frame_(std::move(frame)), traits_(traits) {
  piece_ends_.reserve(static_cast<size_t>(vocab_->size()));
  for (TokenId id = 0; id < vocab_->size(); ++id) {
    piece_bytes_ += piece_of(*vocab_, id);
    piece_ends_.push_back(piece_bytes_.size());
  }
}

std::string_view Tokenizer::piece(TokenId id) const {
  if (!vocab_->contains(id)) return {};
  const auto i = static_cast<size_t>(id);
  const size_t begin = i == 0 ? 0 : piece_ends_[i - 1];
  return std::string_view(piece_bytes_).substr(begin, piece_ends_[i] - begin);
}

// As sentencepiece_processor.cc of SentencePiece does in Decode.
std::string Tokenizer::next_piece(TokenId id, bool& at_start) const {
  std::string_view bytes = piece(id);
  if (!at_start) return std::string(bytes);
  const bool strips = (traits_.adds_space || traits_.removes_spaces) && !is_special(id);
  const bool stripped = strips && bytes.starts_with(' ');
  if (stripped) bytes.remove_prefix(1);
  // Where spaces are removed one could go on for ever: each token loses its own.
  at_start = bytes.empty() && (!stripped || traits_.removes_spaces);
  return std::string(bytes);
}

bool Tokenizer::is_special(TokenId id) const {
  return vocab_->contains(id) &&
         (vocab_->kind(id) == TokenKind::kControl || vocab_->kind(id) == TokenKind::kUnknown);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return encode(MarkedView{text, {}}, options);
}

std::vector<TokenId> Tokenizer::encode(const MarkedText& text, const EncodeOptions& options) const {
  return encode(MarkedView{text.text, text.written}, options);
}

std::vector<TokenId> Tokenizer::encode(const MarkedView& text, const EncodeOptions& options) const {
  if (!traits_.any_bytes && !is_utf8(text.text)) {
    std::vector<ByteRange> moved(text.written.begin(), text.written.end());
    const std::string whole = replace_invalid(text.text, moved);
    return encode(MarkedView{whole, moved}, options);
  }
  std::vector<TokenId> tokens;
  tokens.reserve(text.text.size() / 4 + 2);  // English has four to five bytes a token
  if (options.add_special) {
    tokens.insert(tokens.end(), frame_.before.begin(), frame_.before.end());
  }
  size_t at = 0;
  const auto plain_up_to = [&](size_t end) {
    if (end <= at) return;
    encode_plain({text.part(at, end), at == 0, options.parse_special}, tokens);
  };
  for (const auto& special : find_special(text, options.parse_special)) {
    plain_up_to(special.begin);
    tokens.push_back(special.id);
    at = special.end;
  }
  plain_up_to(text.text.size());
  if (options.add_special) tokens.insert(tokens.end(), frame_.after.begin(), frame_.after.end());
  return tokens;
}

std::vector<SpecialSearch::Found> Tokenizer::find_special(const MarkedView& text,
                                                          bool parse_special) const {
  return specials_->find(text, parse_special);
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, const DecodeOptions& options) const {
  std::vector<TokenId> shown;
  shown.reserve(tokens.size());
  std::ranges::copy_if(tokens, std::back_inserter(shown), [&](TokenId id) {
    return vocab_->contains(id) && !(options.skip_special && is_special(id));
  });
  return join(shown);
}

std::string Tokenizer::join(std::span<const TokenId> tokens) const {
  std::string text;
  bool at_start = true;
  for (const TokenId id : tokens) {
    text += next_piece(id, at_start);
  }
  return text;
}

}  // namespace millrace
