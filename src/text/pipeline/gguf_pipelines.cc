#include "text/pipeline/gguf_pipelines.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "text/models/bpe_model.h"
#include "text/models/unigram.h"
#include "text/models/wordpiece.h"
#include "text/pipeline/pipeline.h"
#include "text/unicode/byte_alphabet.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

constexpr std::string_view kCharsmap = "tokenizer.ggml.precompiled_charsmap";
constexpr std::string_view kSpace = "\xE2\x96\x81";

bool is_control(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown;
}

AddedTokens added_tokens_of(const Vocab& vocab) {
  std::vector<AddedToken> added;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const bool special = is_control(vocab.kind(id));
    if (!special && vocab.kind(id) != TokenKind::kUserDefined) continue;
    added.push_back({.text = std::string(vocab.text(id)), .id = id, .special = special});
  }
  return AddedTokens(std::move(added));
}

absl::StatusOr<Charsmap> read_charsmap(const Metadata& metadata) {
  ASSIGN_OR_RETURN(const auto numbers, metadata.integers(kCharsmap));
  std::string blob;
  blob.reserve(numbers.size());
  for (const int64_t number : numbers) blob.push_back(static_cast<char>(number));
  absl::StatusOr<Charsmap> map = Charsmap::from(blob);
  if (map.ok()) return map;
  return invalid_argument("metadata key '{}': {}", kCharsmap, message_of(map.status()));
}

absl::Status read_normaliser(const Metadata& metadata, Normaliser& normaliser) {
  if (metadata.has(kCharsmap)) {
    ASSIGN_OR_RETURN(Charsmap map, read_charsmap(metadata));
    normaliser.add(map_longest(std::move(map)));
  }
  SpaceRules rules;
  ASSIGN_OR_RETURN(rules.add_prefix,
                   metadata.boolean_or("tokenizer.ggml.add_space_prefix", rules.add_prefix));
  ASSIGN_OR_RETURN(
      rules.remove_extra,
      metadata.boolean_or("tokenizer.ggml.remove_extra_whitespaces", rules.remove_extra));
  ASSIGN_OR_RETURN(rules.escape,
                   metadata.boolean_or("tokenizer.ggml.escape_whitespaces", rules.escape));
  ASSIGN_OR_RETURN(rules.as_suffix, metadata.boolean_or("tokenizer.ggml.treat_whitespace_as_suffix",
                                                        rules.as_suffix));
  normaliser.add(sentencepiece_spaces(rules));
  return absl::OkStatus();
}

std::unique_ptr<const WordModel> unigram_of(const Vocab& vocab) {
  std::vector<Unigram::Piece> pieces;
  ByteTokens bytes;
  double lowest = std::numeric_limits<double>::max();
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const TokenKind kind = vocab.kind(id);
    const std::string_view text = vocab.text(id);
    const double score = vocab.score(id);
    if (kind == TokenKind::kNormal) lowest = std::min(lowest, score);
    if (const int byte = ByteTokens::byte_of(text); kind == TokenKind::kByte && byte >= 0) {
      bytes.set(byte, id);
    } else if (!is_control(kind) && is_utf8(text)) {
      pieces.push_back({text, id, kind == TokenKind::kUserDefined ? 0 : score});
    }
  }
  if (lowest > std::numeric_limits<float>::max()) lowest = 0;
  return std::make_unique<Unigram>(pieces, lowest, vocab.unknown(), bytes);
}

std::unique_ptr<const WordModel> wordpiece_of(const Vocab& vocab) {
  std::vector<Trie::Entry> beginnings;
  std::vector<Trie::Entry> continuations;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    std::string_view text = vocab.text(id);
    if (is_control(vocab.kind(id))) continue;
    const bool begins = text.starts_with(kSpace);
    if (begins) text.remove_prefix(kSpace.size());
    (begins ? beginnings : continuations).push_back({text, id});
  }
  return std::make_unique<WordPiece>(std::move(beginnings), std::move(continuations),
                                     vocab.unknown());
}

// Tokens that stand for themselves, where the alphabet would read other bytes.
absl::flat_hash_map<TokenId, std::string> verbatim_of(const Vocab& vocab) {
  absl::flat_hash_map<TokenId, std::string> verbatim;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const std::string_view text = vocab.text(id);
    const bool itself = is_control(vocab.kind(id)) || vocab.kind(id) == TokenKind::kUserDefined;
    if (itself && unspelled(text) != text) verbatim.emplace(id, spelled(text));
  }
  return verbatim;
}

std::unique_ptr<const Tokenizer> made_of(std::shared_ptr<const Vocab> vocab,
                                         PipelineTokenizer::Parts parts) {
  parts.frame = PipelineTokenizer::frame_of(*vocab);
  return std::make_unique<const PipelineTokenizer>(std::move(vocab), std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> create_byte_level(
    Vocab vocab, const MergeList& merges, const SplitPattern& pattern,
    std::optional<size_t> cached_words) {
  const auto shared = std::make_shared<const Vocab>(std::move(vocab));
  PipelineTokenizer::Parts parts;
  parts.added = SpecialSearch(*shared);
  ASSIGN_OR_RETURN(Pretokenizer cut, Pretokenizer::create(pattern.used_steps()));
  parts.cutter.add({.cut = std::move(cut)});
  ASSIGN_OR_RETURN(parts.model,
                   BpeModel::create(shared, merges,
                                    {.byte_level = true, .ignore_merges = pattern.ignore_merges}));
  parts.decoding.add(decode_byte_alphabet());
  parts.decoded_as = verbatim_of(*shared);
  parts.cached_words = cached_words;
  return made_of(shared, std::move(parts));
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> create_unigram(Vocab vocab,
                                                                const Metadata& metadata) {
  if (!metadata.has("tokenizer.ggml.scores")) {
    return not_found("metadata key 'tokenizer.ggml.scores' is missing");
  }
  PipelineTokenizer::Parts parts;
  parts.added = added_tokens_of(vocab);
  RETURN_IF_ERROR(read_normaliser(metadata, parts.normaliser));
  parts.model = unigram_of(vocab);
  parts.decoding.add(decode_metaspace(std::string(kSpace), /*drop_first=*/true));
  parts.decoding.add(decode_byte_tokens());
  return made_of(std::make_shared<const Vocab>(std::move(vocab)), std::move(parts));
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> create_wordpiece(Vocab vocab) {
  PipelineTokenizer::Parts parts;
  parts.added = added_tokens_of(vocab);
  for (CharacterMap* const map : {clean_text, space_ideographs}) {
    parts.normaliser.add(map_characters(map));
  }
  parts.normaliser.add(to_form(NormalForm::kNfd));
  for (CharacterMap* const map : {strip_nonspacing, lowercase}) {
    parts.normaliser.add(map_characters(map));
  }
  ASSIGN_OR_RETURN(Pretokenizer cut, Pretokenizer::create(bert_words()));
  parts.cutter.add({.cut = std::move(cut)});
  parts.model = wordpiece_of(vocab);
  parts.decoding.add(decode_metaspace(std::string(kSpace), /*drop_first=*/true));
  parts.decoding.add(decode_clean_up());
  return made_of(std::make_shared<const Vocab>(std::move(vocab)), std::move(parts));
}

}  // namespace millrace
