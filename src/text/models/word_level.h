#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "text/models/word_model.h"
#include "text/trie.h"

namespace millrace {

// Each word is one token, or else the unknown one.
class WordLevel final : public WordModel {
 public:
  // Values are token ids.
  WordLevel(std::vector<Trie::Entry> words, std::optional<TokenId> unknown)
      : words_(std::move(words)), unknown_(unknown) {}

  void encode_word(std::string_view word, Room& /*room*/,
                   std::vector<TokenId>& tokens) const override {
    const auto id = words_.find(word);
    if (id || unknown_) tokens.push_back(id ? *id : *unknown_);
  }

 private:
  Trie words_;
  std::optional<TokenId> unknown_;
};

}  // namespace millrace
