#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "text/models/word_model.h"
#include "text/normal/normalise.h"
#include "text/pipeline/added_tokens.h"
#include "text/pipeline/decoding.h"
#include "text/pipeline/special.h"
#include "text/pipeline/word_cache.h"
#include "text/split/word_cutter.h"
#include "text/tokenizer.h"

namespace millrace {

// A tokenizer made of parts, as the `tokenizers` package has them: added tokens are taken out,
// what lies between is normalised, tokens that look normalised are taken out of that, the rest is
// cut into words, and a model makes each word's tokens.
class PipelineTokenizer final : public Tokenizer {
 public:
  using Tokenizer::Frame;
  using Tokenizer::frame_of;
  struct Parts {
    // Looked for in the text as it is: the leftmost first, or the longest.
    std::variant<AddedTokens, SpecialSearch> added;
    Normaliser normaliser;
    AddedTokens added_to_normalised;
    WordCutter cutter;
    std::unique_ptr<const WordModel> model;
    Decoding decoding;
    // What decoding begins with where it is not the token's own text.
    absl::flat_hash_map<TokenId, std::string> decoded_as;
    Frame frame;
    std::optional<size_t> cached_words = {};  // a power of two; nothing: what the vocabulary needs
  };
  PipelineTokenizer(std::shared_ptr<const Vocab> vocab, Parts parts);

  std::string next_piece(TokenId id, bool& at_start) const override;

 protected:
  void encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const override;
  std::vector<SpecialSearch::Found> find_special(const MarkedView& text,
                                                 bool parse_special) const override;
  std::string join(std::span<const TokenId> tokens) const override;

 private:
  void encode_normalised(const Plain& plain, std::vector<TokenId>& tokens) const;
  void encode_words(std::string_view text, bool from_start, std::vector<TokenId>& tokens) const;

  Parts parts_;
  mutable WordCache cache_;
};

}  // namespace millrace
