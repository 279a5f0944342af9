#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_set.h>

#include "base/ids.h"
#include "base/status.h"
#include "text/byte_tokens.h"
#include "text/merges.h"
#include "text/trie.h"
#include "text/word_model.h"

namespace millrace {

// Byte pair encoding of words as the `tokenizers` package has it: a word's characters, or its bytes
// spelled in the byte-level alphabet, are merged by rank.
class BpeModel final : public WordModel {
 public:
  struct Token {
    std::string_view text;
    TokenId id;
    bool is_control = false;  // text never becomes it
  };
  struct Rules {
    bool byte_level = false;     // words are bytes, tokens are spelled
    bool ignore_merges = false;  // a word that is a token becomes it, whatever the merges say
    std::string prefix = {};     // before a character that does not begin a word
    std::string suffix = {};     // after the one that ends it
    ByteTokens bytes = {};       // for characters that are no token; none: the next
    std::optional<TokenId> unknown = {};  // nothing: such characters are left out
    bool fuse_unknown = false;            // one for many
  };
  // Errors name the merge at fault.
  static absl::StatusOr<std::unique_ptr<const WordModel>> create(std::span<const Token> tokens,
                                                                 const MergeList& merges,
                                                                 Rules rules);

  void encode_word(std::string_view word, std::vector<TokenId>& tokens) const override;

 private:
  BpeModel(std::span<const Token> tokens, Rules rules);
  absl::Status read_merges(const MergeList& merges);
  std::optional<TokenId> find(std::string_view text) const;
  void add_bytes(std::string_view word, Merges::Word& symbols) const;
  void add_characters(std::string_view word, Merges::Word& symbols) const;

  Rules rules_;
  Trie ids_;
  absl::flat_hash_set<TokenId> control_;
  std::array<std::optional<TokenId>, 256> of_bytes_;
  Merges merges_;
};

}  // namespace millrace
