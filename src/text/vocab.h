#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/metadata.h"
#include "base/status.h"
#include "text/text_index.h"

namespace millrace {

// What a token is for; the numbers are those of GGUF's tokenizer.ggml.token_type.
enum class TokenKind : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// Whitespace that a special token takes along with it.
struct TokenStrips {
  bool left = false;
  bool right = false;
};

// Tokens that frame a text with a hole in it.
struct InfillTokens {
  std::optional<TokenId> prefix, suffix, middle;
  std::optional<TokenId> padding, repository, file;
};

// A model's tokens as its file lists them, and which of them have a role. Immutable; owns its
// strings.
class Vocab {
 public:
  // Reads the `tokenizer.ggml.*` keys but `tokenizer.ggml.pre`, which is `pre`. Errors name the key
  // and the index at fault.
  static absl::StatusOr<Vocab> from(const Metadata& metadata, std::string_view pre = "");

  Vocab(Vocab&&) = default;
  Vocab& operator=(Vocab&&) = default;

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool contains(TokenId id) const { return id >= 0 && id < size(); }
  std::string_view text(TokenId id) const {  // as stored
    const size_t begin = id == 0 ? 0 : tokens_[static_cast<size_t>(id) - 1].text_end;
    return {texts_.data() + begin, tokens_[static_cast<size_t>(id)].text_end - begin};
  }
  float score(TokenId id) const { return tokens_[static_cast<size_t>(id)].score; }
  TokenKind kind(TokenId id) const { return tokens_[static_cast<size_t>(id)].kind; }
  std::optional<TokenId> find(std::string_view text) const;
  // Soon find() will be called with this text, among many others.
  void expect(std::string_view text) const { index_.prefetch(text); }

  // Whitespace around the token is part of it. Called while a vocabulary is made, before its use.
  void set_strips(TokenId id, TokenStrips strips) {
    tokens_[static_cast<size_t>(id)].strips = strips;
  }
  TokenStrips strips(TokenId id) const { return tokens_[static_cast<size_t>(id)].strips; }

  std::optional<TokenId> bos() const { return roles_.bos; }
  std::optional<TokenId> eos() const { return roles_.eos; }
  std::optional<TokenId> end_of_turn() const { return roles_.end_of_turn; }
  std::optional<TokenId> end_of_message() const { return roles_.end_of_message; }
  std::optional<TokenId> unknown() const { return roles_.unknown; }
  std::optional<TokenId> separator() const { return roles_.separator; }
  std::optional<TokenId> padding() const { return roles_.padding; }
  std::optional<TokenId> mask() const { return roles_.mask; }
  const InfillTokens& infill() const { return infill_; }
  bool add_bos() const { return add_bos_; }  // this model's prompts begin with bos
  bool add_eos() const { return add_eos_; }
  // Tokens that end an answer: eos, ends of turns and messages, what begins another file, and those
  // known by name. Ascending.
  const std::vector<TokenId>& ends_of_generation() const { return ends_of_generation_; }
  bool ends_generation(TokenId id) const;

 private:
  struct Token {
    size_t text_end = 0;  // in texts_
    float score = 0;
    TokenKind kind = TokenKind::kNormal;
    TokenStrips strips;
  };
  struct Roles {
    std::optional<TokenId> bos, eos, end_of_turn, end_of_message;
    std::optional<TokenId> unknown, separator, padding, mask;
  };

  Vocab() = default;
  absl::Status read_tokens(const Metadata& metadata);
  absl::Status read_kinds(const Metadata& metadata);
  absl::Status read_scores(const Metadata& metadata);
  absl::Status read_roles(const Metadata& metadata);
  absl::Status read_infill(const Metadata& metadata);
  absl::Status read_additions(const Metadata& metadata, std::string_view pre);
  absl::Status read_strips(const Metadata& metadata, std::string_view pre);
  std::optional<TokenId> find_control(std::span<const std::string_view> names);
  void collect_ends();

  std::vector<Token> tokens_;
  std::vector<char> texts_;  // of all tokens, one after the other
  TextIndex index_;          // without empty ones
  Roles roles_;
  InfillTokens infill_;
  bool add_bos_ = false;
  bool add_eos_ = false;
  std::vector<TokenId> ends_of_generation_;
};

}  // namespace millrace
