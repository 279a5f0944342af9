#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/metadata.h"
#include "base/status.h"
#include "base/string_map.h"

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
  std::string_view text(TokenId id) const {
    return tokens_[static_cast<size_t>(id)].text;
  }  // as stored
  float score(TokenId id) const { return tokens_[static_cast<size_t>(id)].score; }
  TokenKind kind(TokenId id) const { return tokens_[static_cast<size_t>(id)].kind; }
  std::optional<TokenId> find(std::string_view text) const;

  std::optional<TokenId> bos() const { return bos_; }
  std::optional<TokenId> eos() const { return eos_; }
  std::optional<TokenId> unknown() const { return unknown_; }
  bool add_bos() const { return add_bos_; }  // this model's prompts begin with bos
  bool add_eos() const { return add_eos_; }
  // Tokens that end an answer (eos, eot, eom and those known by name), ascending.
  const std::vector<TokenId>& ends_of_generation() const { return ends_of_generation_; }
  bool ends_generation(TokenId id) const;

 private:
  struct Token {
    std::string text;
    float score = 0;
    TokenKind kind = TokenKind::kNormal;
  };

  Vocab() = default;
  absl::Status read_tokens(const Metadata& metadata);
  absl::Status read_kinds(const Metadata& metadata);
  absl::Status read_scores(const Metadata& metadata);
  absl::Status read_roles(const Metadata& metadata, std::string_view pre);
  void collect_ends(std::initializer_list<std::optional<TokenId>> ids);

  std::vector<Token> tokens_;
  StringViewMap<TokenId> index_;  // into tokens_; without empty ones
  std::optional<TokenId> bos_, eos_, unknown_;
  bool add_bos_ = false;
  bool add_eos_ = false;
  std::vector<TokenId> ends_of_generation_;
};

}  // namespace millrace
