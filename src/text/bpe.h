#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "text/merges.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"
#include "text/word_cache.h"

namespace millrace {

// Byte-level BPE (`tokenizer.ggml.model` gpt2): text is cut into words, a word's bytes are merged
// by rank. Tokens are spelled in an alphabet of 256 printable characters, one for each byte. Where
// the vocabulary has them all, any bytes go there and back: those that are not UTF-8 become their
// own tokens. Otherwise a byte without a token is left out, as the models' own tokenizers do.
class BpeTokenizer final : public Tokenizer {
 public:
  struct Rules {
    Pretokenizer pretokenizer;
    bool ignore_merges = false;  // a word that is a token becomes it, whatever the merges say
    size_t cached_words = WordCache::kWords;  // a power of two
  };
  // Errors name `merges.key` and the index at fault.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> create(Vocab vocab,
                                                                 const MergeList& merges,
                                                                 Rules rules);

 protected:
  void encode_plain(std::string_view text, std::vector<TokenId>& tokens) const override;

 private:
  using ByteTokens = std::array<TokenId, 256>;
  static ByteTokens byte_tokens_of(const Vocab& vocab);
  BpeTokenizer(Vocab vocab, const ByteTokens& byte_tokens, Rules rules);

  absl::Status read_merges(const MergeList& merges);
  void encode_text(std::string_view text, std::vector<TokenId>& tokens) const;
  void encode_word(std::string_view word, Merges::Word& room, std::vector<TokenId>& tokens) const;

  Rules rules_;
  ByteTokens byte_tokens_;
  Merges merges_;
  mutable WordCache cache_;
};

}  // namespace millrace
