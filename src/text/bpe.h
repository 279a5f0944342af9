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
// by rank. Tokens are spelled in an alphabet of 256 printable characters, one for each byte. A byte
// that the vocabulary has no token for is left out, as the models' own tokenizers do.
class BpeTokenizer final : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> create(Vocab vocab,
                                                                 const Metadata& metadata);

 protected:
  void encode_plain(std::string_view text, std::vector<TokenId>& tokens) const override;

 private:
  BpeTokenizer(Vocab vocab, const SplitPattern& pattern);

  absl::Status read_merges(const Metadata& metadata);
  void encode_word(std::string_view word, Merges::Word& room, std::vector<TokenId>& tokens) const;

  const SplitPattern& pattern_;
  std::array<TokenId, 256> byte_tokens_;
  Merges merges_;
  mutable WordCache cache_;
};

}  // namespace millrace
