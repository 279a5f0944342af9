#include "text/pipeline/pipeline.h"

#include <optional>
#include <utility>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

std::string_view decoded_text(const Vocab& vocab, const PipelineTokenizer::Parts& parts,
                              TokenId id) {
  const auto found = parts.decoded_as.find(id);
  return found == parts.decoded_as.end() ? vocab.text(id) : found->second;
}

std::string piece_of(const Vocab& vocab, const PipelineTokenizer::Parts& parts, TokenId id) {
  const std::string_view text = decoded_text(vocab, parts, id);
  return text.empty() ? std::string() : parts.decoding.piece(text, {});
}

}  // namespace

PipelineTokenizer::PipelineTokenizer(std::shared_ptr<const Vocab> vocab, Parts parts)
    : Tokenizer(std::move(vocab),
                [&parts](const Vocab& shared, TokenId id) { return piece_of(shared, parts, id); },
                parts.frame,
                {.any_bytes = parts.normaliser.empty() && parts.model->reads_any_byte()}),
      parts_(std::move(parts)),
      cache_(parts_.cached_words.value_or(WordCache::words_for(this->vocab().size()))) {}

std::vector<SpecialSearch::Found> PipelineTokenizer::find_special(const MarkedView& text,
                                                                  bool parse_special) const {
  return std::visit([&](const auto& added) { return added.find(text, parse_special); },
                    parts_.added);
}

void PipelineTokenizer::encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const {
  if (parts_.normaliser.empty()) return encode_normalised(plain, tokens);
  const Normalised normalised =
      parts_.normaliser.apply(Normalised{plain.marked.copy(), plain.from_start});
  const MarkedText& marked = normalised.marked;
  encode_normalised({{marked.text, marked.written}, normalised.from_start, plain.parse_special},
                    tokens);
}

void PipelineTokenizer::encode_normalised(const Plain& plain, std::vector<TokenId>& tokens) const {
  const std::string_view text = plain.marked.text;
  size_t at = 0;
  const auto words_up_to = [&](size_t end) {
    if (end <= at) return;
    encode_words(text.substr(at, end - at), plain.from_start && at == 0, tokens);
  };
  for (const auto& [begin, end, id] :
       parts_.added_to_normalised.find(plain.marked, plain.parse_special)) {
    words_up_to(begin);
    tokens.push_back(id);
    at = end;
  }
  words_up_to(text.size());
}

void PipelineTokenizer::encode_words(std::string_view text, bool from_start,
                                     std::vector<TokenId>& tokens) const {
  WordModel::Room room;
  const auto encode_word = [&](std::string_view word) {
    if (cache_.find(word, tokens)) return;
    const size_t before = tokens.size();
    parts_.model->encode_word(word, room, tokens);
    cache_.keep(word, std::span(tokens).subspan(before));
  };
  while (!text.empty()) {
    const size_t valid = utf8_prefix(text);
    parts_.cutter.cut(text.substr(0, valid), from_start, encode_word);
    text.remove_prefix(valid);
    from_start = false;
    if (text.empty()) return;
    const size_t invalid = decode_utf8(text).length;
    for (size_t i = 0; i < invalid; ++i) encode_word(text.substr(i, 1));
    text.remove_prefix(invalid);
  }
}

std::string PipelineTokenizer::next_piece(TokenId id, bool& at_start) const {
  if (!at_start || !vocab().contains(id)) return std::string(piece(id));
  const std::string_view text = decoded_text(vocab(), parts_, id);
  if (text.empty()) return {};
  at_start = false;
  return parts_.decoding.whole(parts_.decoding.piece(text, {.first = true}));
}

std::string PipelineTokenizer::join(std::span<const TokenId> tokens) const {
  std::string text;
  // Ids that no token has are not there.
  std::optional<TokenId> waiting;
  bool first = true;
  const auto add = [&](TokenId id, bool last) {
    if (first || last) {
      text += parts_.decoding.piece(decoded_text(vocab(), parts_, id), {first, last});
    } else {
      text += piece(id);
    }
    first = false;
  };
  for (const TokenId id : tokens) {
    if (vocab().text(id).empty()) continue;
    if (waiting) add(*waiting, false);
    waiting = id;
  }
  if (waiting) add(*waiting, true);
  return parts_.decoding.whole(std::move(text));
}

}  // namespace millrace
