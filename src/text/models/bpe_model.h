#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "text/byte_tokens.h"
#include "text/models/merges.h"
#include "text/models/word_model.h"
#include "text/vocab.h"

namespace millrace {

// Byte pair encoding of words as the `tokenizers` package has it: a word's characters, or its bytes
// spelled in the byte-level alphabet, are merged by rank. Text never becomes a control token.
class BpeModel final : public WordModel {
 public:
  using VocabPtr = std::shared_ptr<const Vocab>;
  struct Rules {
    bool byte_level = false;     // words are bytes, tokens are spelled
    bool ignore_merges = false;  // a word that is a token becomes it, whatever the merges say
    std::string prefix = {};     // before a character that does not begin a word
    std::string suffix = {};     // after the one that ends it
    ByteTokens bytes = {};       // for characters that are no token; none: the next
    std::optional<TokenId> unknown = {};  // nothing: such characters are left out
    bool fuse_unknown = false;            // one for many
    std::vector<bool> listed = {};  // by id: the model's own tokens, not only added; empty: all
  };
  // Errors name the merge at fault.
  static absl::StatusOr<std::unique_ptr<const WordModel>> create(VocabPtr vocab,
                                                                 const MergeList& merges,
                                                                 Rules rules);

  void encode_word(std::string_view word, Room& room, std::vector<TokenId>& tokens) const override;
  bool reads_any_byte() const override;

 private:
  BpeModel(VocabPtr vocab, Rules rules);
  absl::Status read_merges(const MergeList& merges);
  bool is_plain_bytes() const;
  bool is_text(TokenId id) const;
  std::optional<TokenId> if_listed(std::optional<TokenId> id) const;
  std::optional<TokenId> find(std::string_view text) const;  // what text may become
  void add_bytes(std::string_view word, Merges::Word& symbols) const;
  void add_characters(std::string_view word, Merges::Word& symbols) const;

  VocabPtr vocab_;
  Rules rules_;
  std::array<std::optional<TokenId>, 256> of_bytes_;
  Merges merges_;
};

}  // namespace millrace
