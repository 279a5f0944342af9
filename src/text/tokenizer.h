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
#include "text/special.h"
#include "text/vocab.h"

namespace millrace {

struct EncodeOptions {
  bool add_special = true;    // bos and eos where the model wants them
  bool parse_special = true;  // spellings of control tokens become those tokens
};

struct DecodeOptions {
  bool skip_special = true;  // control and unknown tokens are left out; otherwise spelled
};

// Text to token ids and back. Immutable: every method is safe from many threads.
// Text that is not UTF-8 is read with U+FFFD for each maximal invalid subpart, but byte by byte
// where the vocabulary has a token for every byte.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The tokenizer that `tokenizer.ggml.model` and `tokenizer.ggml.pre` name; `pre`, where given,
  // goes before the latter. UNIMPLEMENTED, listing the known ones, for any other.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> create(const Metadata& metadata,
                                                                 std::string_view pre = "");

  const Vocab& vocab() const { return vocab_; }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Special tokens are found only where no byte was written by somebody. Otherwise the same tokens
  // as for the plain text.
  std::vector<TokenId> encode(const MarkedText& text, const EncodeOptions& options = {}) const;

  // The bytes of the whole, not necessarily UTF-8. A sentence-start space that the vocabulary adds
  // is removed, once, at the beginning.
  std::string decode(std::span<const TokenId> tokens, const DecodeOptions& options = {}) const;
  // The bytes that one token adds in the middle of a text; what a stream is made of.
  // Control tokens: their spelling. Ids outside the vocabulary: nothing.
  std::string_view piece(TokenId id) const;
  // The same for a token that may be at the start of a text: without the space that encode puts
  // there. `at_start` becomes false where the text has begun.
  std::string_view next_piece(TokenId id, bool& at_start) const;
  // Control and unknown tokens: what `skip_special` leaves out.
  bool is_special(TokenId id) const;

 protected:
  using PiecesOf = std::vector<std::string>(const Vocab&);
  struct Traits {
    bool adds_space = false;      // encode puts a space before a text
    bool removes_spaces = false;  // encode leaves out spaces that begin a text
    bool any_bytes = false;       // encode_plain reads more than UTF-8
  };
  Tokenizer(Vocab vocab, PiecesOf* pieces_of, Traits traits);
  // Appends the tokens of a text that is UTF-8 (or any bytes), not empty, holds no special token,
  // and is all there is between two of them.
  virtual void encode_plain(std::string_view text, std::vector<TokenId>& tokens) const = 0;

 private:
  std::vector<TokenId> encode(std::string_view text, std::span<const ByteRange> written,
                              const EncodeOptions& options) const;

  Vocab vocab_;
  SpecialSearch specials_;
  std::string piece_bytes_;  // all pieces, one after the other
  std::vector<size_t> piece_ends_;
  Traits traits_;
};

}  // namespace millrace
