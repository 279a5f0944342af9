#pragma once

#include <memory>

#include "base/metadata.h"
#include "base/status.h"
#include "text/tokenizer.h"

namespace millrace {

// The tokenizers that GGUF names `t5` (SentencePiece unigram) and `bert` (WordPiece). A word's
// first piece begins with U+2581 in both.
absl::StatusOr<std::unique_ptr<const Tokenizer>> create_unigram(Vocab vocab,
                                                                const Metadata& metadata);
absl::StatusOr<std::unique_ptr<const Tokenizer>> create_wordpiece(Vocab vocab);

}  // namespace millrace
