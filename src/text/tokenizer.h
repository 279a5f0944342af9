#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/metadata.h"
#include "base/status.h"
#include "text/marked_text.h"
#include "text/vocab.h"

namespace millrace {

struct EncodeOptions {
  bool add_special = true;    // bos and eos where the model wants them
  bool parse_special = true;  // spellings of control tokens become those tokens
};

struct DecodeOptions {
  bool skip_special = true;  // control tokens are left out; otherwise spelled
};

// Text to token ids and back. Immutable: every method is safe from many threads.
// Text that is not UTF-8 is read with U+FFFD for each maximal invalid subpart (byte-level
// vocabularies too).
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The tokenizer that `tokenizer.ggml.model` and `tokenizer.ggml.pre` name. UNIMPLEMENTED, listing
  // the known ones, for any other.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> create(const Metadata& metadata);

  const Vocab& vocab() const { return vocab_; }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Special tokens are found only where no byte was written by somebody. Otherwise the same tokens
  // as for the plain text.
  std::vector<TokenId> encode(const MarkedText& text, const EncodeOptions& options = {}) const;

  // The bytes of the whole, not necessarily UTF-8. A sentence-start space that the vocabulary adds
  // is removed.
  std::string decode(std::span<const TokenId> tokens, const DecodeOptions& options = {}) const;
  // The bytes that one token adds in the middle of a text; what a stream is made of.
  virtual std::string_view piece(TokenId id) const = 0;  // control tokens: their spelling

 protected:
  explicit Tokenizer(Vocab vocab) : vocab_(std::move(vocab)) {}
  // Appends the tokens of text that holds no special token; `at_start`: nothing or a special token
  // comes before it.
  virtual void encode_plain(std::string_view text, bool at_start,
                            std::vector<TokenId>& tokens) const = 0;

 private:
  Vocab vocab_;
};

}  // namespace millrace
