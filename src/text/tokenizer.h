#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/ids.h"
#include "base/metadata.h"
#include "base/status.h"
#include "text/marked_text.h"
#include "text/pipeline/special.h"
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

  // The one that a Hugging Face folder's tokenizer.json describes; its tokenizer_config.json, where
  // it is not empty, says which tokens are bos and eos and whether they are added. Errors name the
  // path at fault; UNIMPLEMENTED, what is not known. A vocabulary of fewer than `tokens_min` tokens
  // gets unused ones: a model's embedding may have more rows than its tokenizer has tokens.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> from_json(std::string_view tokenizer,
                                                                    std::string_view config = "",
                                                                    int32_t tokens_min = 0);

  const Vocab& vocab() const { return *vocab_; }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Special tokens are found only where no byte comes from a client. Otherwise the same tokens as
  // for the plain text.
  std::vector<TokenId> encode(const MarkedText& text, const EncodeOptions& options = {}) const;

  // The bytes of the whole, not necessarily UTF-8. A sentence-start space that the vocabulary adds
  // is removed, once, at the beginning.
  std::string decode(std::span<const TokenId> tokens, const DecodeOptions& options = {}) const;
  // The bytes that one token adds in the middle of a text; what a stream is made of.
  // Control tokens: their spelling. Ids outside the vocabulary: nothing.
  std::string_view piece(TokenId id) const;
  // The same for a token that may be at the start of a text: without the space that encode puts
  // there. `at_start` becomes false where the text has begun.
  virtual std::string next_piece(TokenId id, bool& at_start) const;
  // Control and unknown tokens: what `skip_special` leaves out.
  bool is_special(TokenId id) const;

 protected:
  using PieceOf = absl::FunctionRef<std::string(const Vocab&, TokenId)>;
  // The tokens before and after a text that `add_special` asks for.
  struct Frame {
    std::vector<TokenId> before;
    std::vector<TokenId> after;
  };
  struct Traits {
    bool adds_space = false;      // encode puts a space before a text
    bool removes_spaces = false;  // encode leaves out spaces that begin a text
    bool any_bytes = false;       // encode_plain reads more than UTF-8
  };
  // The frame is what the vocabulary says.
  Tokenizer(Vocab vocab, PieceOf piece_of, Traits traits);
  // For a tokenizer with a find_special of its own.
  Tokenizer(std::shared_ptr<const Vocab> vocab, PieceOf piece_of, Frame frame, Traits traits);
  static Frame frame_of(const Vocab& vocab);

  // What lies between two special tokens.
  struct Plain {
    MarkedView marked;  // UTF-8 (or any bytes), not empty
    bool from_start;    // nothing is before it
    bool parse_special;
  };
  virtual void encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const = 0;
  // The special tokens of a text, in order.
  virtual std::vector<SpecialSearch::Found> find_special(const MarkedView& text,
                                                         bool parse_special) const;
  // What `tokens`, all of the vocabulary, are together.
  virtual std::string join(std::span<const TokenId> tokens) const;

 private:
  std::vector<TokenId> encode(const MarkedView& text, const EncodeOptions& options) const;

  std::shared_ptr<const Vocab> vocab_;
  std::optional<SpecialSearch> specials_;
  Frame frame_;
  std::string piece_bytes_;  // all pieces, one after the other
  std::vector<size_t> piece_ends_;
  Traits traits_;
};

}  // namespace millrace
