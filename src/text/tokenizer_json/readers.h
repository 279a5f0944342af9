#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/json/json_node.h"
#include "text/normal/normalise.h"
#include "text/pipeline/decoding.h"
#include "text/pipeline/pipeline.h"
#include "text/split/word_cutter.h"

namespace millrace {

// The parts of a tokenizer.json, each from the node of its name. What is not known is
// UNIMPLEMENTED, naming the path.

absl::StatusOr<Normaliser> read_normaliser(const JsonNode& node);
absl::StatusOr<Decoding> read_decoding(const JsonNode& node);

struct ReadCutter {
  WordCutter cutter = {};
  bool byte_level = false;  // words are bytes; the model's tokens are spelled
};
// `model_reads_bytes`: it can take bytes where the last step would spell them.
absl::StatusOr<ReadCutter> read_cutter(const JsonNode& node, bool model_reads_bytes);

// What a post-processor puts before and after a text. Ids are below `tokens`.
absl::StatusOr<PipelineTokenizer::Frame> read_frame(const JsonNode& node, int64_t tokens);

// What `model` lists.
struct ListedTokens {
  enum class Kind : uint8_t { kBpe, kUnigram, kWordPiece, kWordLevel };
  struct Token {
    std::string_view text;
    TokenId id;
    double score = 0;
  };
  Kind kind = Kind::kBpe;
  std::vector<Token> tokens;
  bool byte_fallback = false;  // <0xNN> are bytes
};
absl::StatusOr<ListedTokens> read_listed_tokens(const JsonNode& model);
// `vocab` knows which of them are control tokens. `cutter` may cut what the model would not join.
absl::StatusOr<std::unique_ptr<const WordModel>> read_model(
    const JsonNode& model, const ListedTokens& listed, const std::shared_ptr<const Vocab>& vocab,
    ReadCutter& cutter);

// A pattern of Split or Replace: {"String": s} or {"Regex": r}.
struct ReadPattern {
  std::string text = {};  // where it is a string
  std::string expression = {};
};
absl::StatusOr<ReadPattern> read_pattern(const JsonNode& node);

// What Metaspace says, as a pre-tokenizer and as a decoder.
struct ReadMetaspace {
  enum class Prepend : uint8_t { kNever, kFirst, kAlways };
  std::string mark;  // one character
  Prepend prepend = Prepend::kNever;
};
absl::StatusOr<ReadMetaspace> read_metaspace(const JsonNode& node);

// Of a Sequence the parts, in order; otherwise the node itself. Null: none.
absl::Status for_each_part(
    const JsonNode& node, std::string_view list,
    absl::FunctionRef<absl::Status(std::string_view type, const JsonNode& part)> each);

}  // namespace millrace
