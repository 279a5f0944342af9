#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "base/metadata.h"
#include "base/status.h"
#include "text/models/merges.h"
#include "text/split/split_patterns.h"
#include "text/tokenizer.h"

namespace millrace {

// The tokenizers that GGUF names `gpt2`, `t5` and `bert`.

// Byte-level BPE. Where the vocabulary has a token for each byte, any bytes go there and back:
// those that are not UTF-8 become their own tokens. Otherwise a byte without one is left out, as
// the models' own tokenizers do. `cached_words`: see PipelineTokenizer.
absl::StatusOr<std::unique_ptr<const Tokenizer>> create_byte_level(
    Vocab vocab, const MergeList& merges, const SplitPattern& pattern,
    std::optional<size_t> cached_words = {});

// SentencePiece unigram, and WordPiece. A word's first piece begins with U+2581 in both.
absl::StatusOr<std::unique_ptr<const Tokenizer>> create_unigram(Vocab vocab,
                                                                const Metadata& metadata);
absl::StatusOr<std::unique_ptr<const Tokenizer>> create_wordpiece(Vocab vocab);

}  // namespace millrace
