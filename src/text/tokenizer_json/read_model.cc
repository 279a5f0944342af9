#include <algorithm>
#include <limits>
#include <utility>

#include "text/models/bpe_model.h"
#include "text/models/unigram.h"
#include "text/models/word_level.h"
#include "text/models/wordpiece.h"
#include "text/tokenizer_json/readers.h"

namespace millrace {
namespace {

using Kind = ListedTokens::Kind;

constexpr int64_t kIdMax = std::numeric_limits<TokenId>::max();
constexpr std::string_view kMetaspace = "\xE2\x96\x81";

absl::StatusOr<Kind> read_kind(const JsonNode& model) {
  struct Named {
    std::string_view name;
    Kind kind;
  };
  ASSIGN_OR_RETURN(const JsonNode type_node, model.at("type"));
  // Files of before 2020 leave the type of BPE out.
  ASSIGN_OR_RETURN(const JsonNode merges, model.at("merges"));
  ASSIGN_OR_RETURN(const std::string_view type,
                   type_node.string_or(merges.is_array() ? "BPE" : ""));
  for (const auto& [name, kind] :
       {Named{"BPE", Kind::kBpe}, Named{"Unigram", Kind::kUnigram},
        Named{"WordPiece", Kind::kWordPiece}, Named{"WordLevel", Kind::kWordLevel}}) {
    if (type == name) return kind;
  }
  return type_node.not_done(
      fmt::format("is '{}'; the known ones are BPE, Unigram, WordPiece, WordLevel", type));
}

// {"text": id, ...}
absl::Status list_members(const JsonNode& vocab, ListedTokens& listed) {
  return vocab.for_each_member([&](std::string_view text, const JsonNode& value) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t id, value.integer(0, kIdMax));
    listed.tokens.push_back({text, static_cast<TokenId>(id)});
    return absl::OkStatus();
  });
}

// [["text", score], ...]
absl::Status list_pieces(const JsonNode& vocab, ListedTokens& listed) {
  return vocab.for_each_element([&](int64_t id, const JsonNode& pair) -> absl::Status {
    ListedTokens::Token token{{}, static_cast<TokenId>(id)};
    RETURN_IF_ERROR(pair.for_each_element([&](int64_t i, const JsonNode& part) -> absl::Status {
      if (i == 0) {
        ASSIGN_OR_RETURN(token.text, part.string());
      } else {
        ASSIGN_OR_RETURN(token.score, part.number());
      }
      return absl::OkStatus();
    }));
    if (pair.size() != 2) return pair.error("is not a piece and its score");
    listed.tokens.push_back(token);
    return absl::OkStatus();
  });
}

// Looks up what a model calls by its text.
class ModelTokens {
 public:
  ModelTokens(const ListedTokens& listed, const std::shared_ptr<const Vocab>& vocab)
      : listed_(listed), vocab_(vocab) {}

  const std::shared_ptr<const Vocab>& vocab() const { return vocab_; }

  absl::StatusOr<std::optional<TokenId>> named(const JsonNode& model, std::string_view key) const {
    ASSIGN_OR_RETURN(const JsonNode node, model.at(key));
    if (node.is_null()) return std::optional<TokenId>();
    ASSIGN_OR_RETURN(const std::string_view text, node.string());
    const auto id = vocab_->find(text);
    if (!id) return node.error("is not in the vocabulary");
    return id;
  }

  ByteTokens byte_tokens() const {
    ByteTokens bytes;
    if (!listed_.byte_fallback) return bytes;
    for (const auto& token : listed_.tokens) {
      const int byte = ByteTokens::byte_of(token.text);
      if (byte >= 0) bytes.set(byte, token.id);
    }
    return bytes;
  }

  // By id: those that the model lists.
  std::vector<bool> listed() const {
    std::vector<bool> listed(static_cast<size_t>(vocab_->size()));
    for (const auto& token : listed_.tokens) listed[static_cast<size_t>(token.id)] = true;
    return listed;
  }

  // Those that a text can become.
  template <typename Each>
  void for_each_plain(const Each& each) const {
    for (const auto& token : listed_.tokens) {
      if (vocab_->kind(token.id) != TokenKind::kControl) each(token);
    }
  }

 private:
  const ListedTokens& listed_;
  const std::shared_ptr<const Vocab>& vocab_;
};

absl::StatusOr<std::pair<std::string_view, std::string_view>> read_merge(const JsonNode& node) {
  std::pair<std::string_view, std::string_view> merge;
  if (node.is_array()) {
    RETURN_IF_ERROR(node.for_each_element([&](int64_t i, const JsonNode& part) -> absl::Status {
      ASSIGN_OR_RETURN((i == 0 ? merge.first : merge.second), part.string());
      return absl::OkStatus();
    }));
    if (node.size() != 2) return node.error("is not two tokens");
    return merge;
  }
  ASSIGN_OR_RETURN(const std::string_view line, node.string());
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    return node.error("is not two tokens with a space between");
  }
  return std::pair{line.substr(0, space), line.substr(space + 1)};
}

absl::StatusOr<MergeList> read_merge_list(const JsonNode& model) {
  MergeList merges{"model.merges[", "]"};
  ASSIGN_OR_RETURN(const JsonNode list, model.at("merges"));
  merges.pairs.reserve(static_cast<size_t>(list.size()));
  RETURN_IF_ERROR(list.for_each_element([&](int64_t, const JsonNode& node) -> absl::Status {
    ASSIGN_OR_RETURN(const auto merge, read_merge(node));
    merges.pairs.push_back(merge);
    return absl::OkStatus();
  }));
  return merges;
}

// No token holds U+2581 after anything else, so that nothing is joined across the beginning of a
// word; and some hold it.
bool words_stand_alone(const ListedTokens& listed) {
  bool marks = false;
  for (const auto& token : listed.tokens) {
    size_t begin = 0;
    while (token.text.substr(begin).starts_with(kMetaspace)) begin += kMetaspace.size();
    if (token.text.find(kMetaspace, begin) != std::string_view::npos) return false;
    marks |= begin > 0;
  }
  return marks;
}

// A text that is one word would never be found in a cache.
absl::Status cut_at_marks(WordCutter& cutter) {
  const SplitStep words{.expression = "\xE2\x96\x81*[^\xE2\x96\x81]+|\xE2\x96\x81+"};
  ASSIGN_OR_RETURN(Pretokenizer cut, Pretokenizer::create({&words, 1}));
  cutter.add({.cut = std::move(cut)});
  return absl::OkStatus();
}

absl::Status check_dropout(const JsonNode& model) {
  ASSIGN_OR_RETURN(const JsonNode dropout, model.at("dropout"));
  if (dropout.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double share, dropout.number());
  if (share == 0) return absl::OkStatus();
  return dropout.not_done(fmt::format("is {}; only 0 is done", share));
}

absl::StatusOr<std::unique_ptr<const WordModel>> read_bpe(const JsonNode& model,
                                                          const ListedTokens& listed,
                                                          const ModelTokens& tokens,
                                                          ReadCutter& cutter) {
  RETURN_IF_ERROR(check_dropout(model));
  BpeModel::Rules rules{.byte_level = cutter.byte_level, .bytes = tokens.byte_tokens()};
  ASSIGN_OR_RETURN(rules.unknown, tokens.named(model, "unk_token"));
  ASSIGN_OR_RETURN(rules.fuse_unknown, model.boolean_at("fuse_unk", false));
  ASSIGN_OR_RETURN(rules.ignore_merges, model.boolean_at("ignore_merges", false));
  ASSIGN_OR_RETURN(rules.prefix, model.string_at("continuing_subword_prefix", ""));
  ASSIGN_OR_RETURN(rules.suffix, model.string_at("end_of_word_suffix", ""));
  const bool unknown_spans_words = rules.fuse_unknown && !rules.bytes.complete();
  const bool cuts = !rules.byte_level && !rules.ignore_merges && rules.prefix.empty() &&
                    rules.suffix.empty() && !unknown_spans_words;
  if (cuts && words_stand_alone(listed)) RETURN_IF_ERROR(cut_at_marks(cutter.cutter));

  rules.listed = tokens.listed();
  ASSIGN_OR_RETURN(const MergeList merges, read_merge_list(model));
  return BpeModel::create(tokens.vocab(), merges, std::move(rules));
}

absl::StatusOr<std::unique_ptr<const WordModel>> read_unigram(const JsonNode& model,
                                                              const ListedTokens& listed,
                                                              const ModelTokens& tokens) {
  ASSIGN_OR_RETURN(const JsonNode unknown_node, model.at("unk_id"));
  std::optional<TokenId> unknown;
  if (!unknown_node.is_null()) {
    ASSIGN_OR_RETURN(const int64_t id, unknown_node.integer(0, std::ssize(listed.tokens) - 1));
    unknown = static_cast<TokenId>(id);
  }
  double lowest = 0;
  for (const auto& token : listed.tokens) lowest = std::min(lowest, token.score);
  std::vector<Unigram::Piece> pieces;
  tokens.for_each_plain([&](const auto& token) {
    pieces.push_back({token.text, token.id, token.score});
  });
  return std::make_unique<const Unigram>(pieces, lowest, unknown, tokens.byte_tokens());
}

absl::StatusOr<std::unique_ptr<const WordModel>> read_wordpiece(const JsonNode& model,
                                                                const ModelTokens& tokens) {
  ASSIGN_OR_RETURN(const auto unknown, tokens.named(model, "unk_token"));
  ASSIGN_OR_RETURN(const std::string_view prefix,
                   model.string_at("continuing_subword_prefix", "##"));
  ASSIGN_OR_RETURN(const JsonNode max_node, model.at("max_input_chars_per_word"));
  ASSIGN_OR_RETURN(const int64_t characters_max,
                   max_node.integer_or(0, kIdMax, WordPiece::kCharactersMax));
  std::vector<Trie::Entry> beginnings;
  std::vector<Trie::Entry> continuations;
  tokens.for_each_plain([&](const auto& token) {
    beginnings.push_back({token.text, token.id});
    if (!token.text.starts_with(prefix)) return;
    continuations.push_back({token.text.substr(prefix.size()), token.id});
  });
  return std::make_unique<const WordPiece>(std::move(beginnings), std::move(continuations), unknown,
                                           characters_max);
}

absl::StatusOr<std::unique_ptr<const WordModel>> read_word_level(const JsonNode& model,
                                                                 const ModelTokens& tokens) {
  ASSIGN_OR_RETURN(const auto unknown, tokens.named(model, "unk_token"));
  std::vector<Trie::Entry> words;
  tokens.for_each_plain([&](const auto& token) { words.push_back({token.text, token.id}); });
  return std::make_unique<const WordLevel>(std::move(words), unknown);
}

}  // namespace

absl::StatusOr<ListedTokens> read_listed_tokens(const JsonNode& model) {
  ListedTokens listed;
  ASSIGN_OR_RETURN(listed.kind, read_kind(model));
  ASSIGN_OR_RETURN(const JsonNode vocab, model.at("vocab"));
  RETURN_IF_ERROR(listed.kind == Kind::kUnigram ? list_pieces(vocab, listed)
                                                : list_members(vocab, listed));
  ASSIGN_OR_RETURN(listed.byte_fallback, model.boolean_at("byte_fallback", false));
  return listed;
}

absl::StatusOr<std::unique_ptr<const WordModel>> read_model(
    const JsonNode& model, const ListedTokens& listed, const std::shared_ptr<const Vocab>& vocab,
    ReadCutter& cutter) {
  const ModelTokens tokens(listed, vocab);
  switch (listed.kind) {
    case Kind::kBpe:
      return read_bpe(model, listed, tokens, cutter);
    case Kind::kUnigram:
      return read_unigram(model, listed, tokens);
    case Kind::kWordPiece:
      return read_wordpiece(model, tokens);
    case Kind::kWordLevel:
      return read_word_level(model, tokens);
  }
  return internal_error("a model of no kind");
}

}  // namespace millrace
