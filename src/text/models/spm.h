#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "text/models/merges.h"
#include "text/pipeline/word_cache.h"
#include "text/tokenizer.h"

namespace millrace {

// SentencePiece-style BPE (`tokenizer.ggml.model` llama): characters are merged by score (or in the
// order of a list), a space is U+2581, and a character that no token covers becomes the tokens of
// its bytes, or else the unknown token.
class SpmTokenizer final : public Tokenizer {
 public:
  struct Rules {
    bool adds_space = false;  // before a text
    // Spaces at the ends of a text are left out, and several are one.
    bool removes_spaces = false;
  };
  // `merges`, where not null, says what joins, and not the scores.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> create(Vocab vocab,
                                                                 const MergeList* merges,
                                                                 Rules rules);

 protected:
  void encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const override;

 private:
  SpmTokenizer(Vocab vocab, Rules rules);

  absl::Status check_bytes() const;
  void read_characters();
  void read_joins();
  void read_joins_of(TokenId id);
  absl::Status read_merges(const MergeList& merges);
  void note_spaces_in(std::string_view token);
  bool is_text(TokenId id) const;
  int32_t symbol_of(char32_t code) const;
  std::optional<int32_t> symbol_of(std::string_view part) const;
  size_t word_end(std::string_view text, size_t begin) const;
  void encode_word(std::string_view word, Merges::Word& room, std::vector<TokenId>& tokens) const;
  bool append_bytes(char32_t code, bool after_unknown, std::vector<TokenId>& tokens) const;

  Rules rules_;
  // No token holds U+2581 after anything else, so that no merge crosses from one word to the next.
  bool words_stand_alone_ = true;
  std::array<TokenId, 256> byte_tokens_;
  absl::flat_hash_map<char32_t, TokenId> characters_;  // those that are tokens
  Merges merges_;
  mutable WordCache cache_;
};

}  // namespace millrace
