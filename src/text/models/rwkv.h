#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "text/trie.h"

namespace millrace {

// The tokens of RWKV (`tokenizer.ggml.model` rwkv): of those that a text goes on with, always the
// longest. They are any bytes, spelled as Python spells a bytes literal. A byte that begins no
// token becomes the unknown token, or is left out where there is none.
class RwkvTokenizer final : public Tokenizer {
 public:
  // INVALID_ARGUMENT naming the index of a token that is not spelled so.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> create(Vocab vocab);

 protected:
  void encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const override;

 private:
  explicit RwkvTokenizer(Vocab vocab);

  Trie trie_;
};

// RWKV's smallest models have no vocabulary: token i is byte i.
std::unique_ptr<const Tokenizer> byte_tokenizer();

}  // namespace millrace
