#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tests/fixtures/text/joined_pieces.h"
#include "tests/fixtures/text/tiny_vocab.h"
#include "text/split/split_patterns.h"

namespace millrace {
namespace {

// What a fuzzer's bytes say, one thing after the other; past their end, nothing.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const char byte = bytes_.front();
    bytes_.remove_prefix(1);
    return static_cast<uint8_t>(byte);
  }
  std::string_view string() {  // up to a zero
    const std::string_view text = bytes_.substr(0, bytes_.find('\0'));
    bytes_.remove_prefix(std::min(bytes_.size(), text.size() + 1));
    return text;
  }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view bytes_;
};

constexpr std::array<std::string_view, 4> kModels = {"gpt2", "llama", "gemma4", "rwkv"};
constexpr std::array<std::string_view, 8> kIds = {
    "bos_token_id",     "eos_token_id",  "unknown_token_id", "eot_token_id",
    "fim_pre_token_id", "mask_token_id", "padding_token_id", "middle_token_id"};

// A byte says the kind of tokenizer and whether a small whole vocabulary comes first, one the split
// pattern; then come tokens (kind, score, spelling), merges, ids with a role, flags. The rest is
// text.
struct Input {
  explicit Input(std::string_view bytes) : reader(bytes) {
    const uint8_t flags = reader.byte();
    const std::string_view model = kModels[flags & 3];
    begins_whole = (flags & 4) != 0;
    byte_level = model == "gpt2";
    TinyVocab vocab;
    if (begins_whole) vocab = byte_level ? tiny_bpe() : tiny_spm();
    const auto patterns = split_patterns();
    const SplitPattern& pattern = patterns[reader.byte() % patterns.size()];
    byte_level = byte_level && !pattern.of_characters;
    for (int n = reader.byte(); n > 0; --n) {
      const auto kind = static_cast<TokenKind>(reader.byte() % 8);
      const double score = static_cast<int8_t>(reader.byte());
      vocab.add(std::string(reader.string()), kind, score);
    }
    for (int n = reader.byte(); n > 0; --n) vocab.merges.emplace_back(reader.string());
    metadata = vocab.metadata(std::string(model),
                              std::string(pattern.names.substr(0, pattern.names.find(' '))));
    for (int n = reader.byte() % 8; n > 0; --n) {
      const std::string key = "tokenizer.ggml." + std::string(kIds[reader.byte() % kIds.size()]);
      metadata.set_integer(key, MetaType::kI32, reader.byte() + 256 * (reader.byte() % 4) - 8);
    }
    const uint8_t says = reader.byte();
    if ((says & 1) != 0) metadata.set_boolean("tokenizer.ggml.add_bos_token", (says & 2) != 0);
    if ((says & 4) != 0) metadata.set_boolean("tokenizer.ggml.add_eos_token", (says & 8) != 0);
    if ((says & 16) != 0) metadata.set_boolean("tokenizer.ggml.add_space_prefix", (says & 32) != 0);
    if ((says & 64) != 0) metadata.set_boolean("tokenizer.ggml.remove_extra_whitespaces", true);
    if ((says & 128) != 0) metadata.set_string("general.name", "phi-3");
    strips = (says & 128) != 0;
  }

  Reader reader;
  Metadata metadata;
  bool begins_whole = false;
  bool byte_level = false;
  bool strips = false;
};

void check_stream(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens, bool skip) {
  TextStream stream(tokenizer, {.skip_special = skip, .at_start = true});
  CHECK(joined_pieces(stream, tokens) == decoded_whole(tokenizer, tokens, skip),
        "the pieces do not join to what decode gives");
}

void run(std::string_view bytes) {
  const Input input(bytes);
  const auto made = Tokenizer::create(input.metadata);
  if (!made.ok()) return;
  const Tokenizer& tokenizer = **made;
  const std::string text(input.reader.rest());
  for (const bool parse : {false, true}) {
    const EncodeOptions options{.add_special = false, .parse_special = parse};
    const std::vector<TokenId> tokens = tokenizer.encode(text, options);
    CHECK(tokenizer.encode(text, options) == tokens, "warm, the cache changes ids");
    for (const TokenId token : tokens) CHECK(tokenizer.vocab().contains(token), "no such token");
    if (input.begins_whole && input.byte_level && !input.strips) {
      CHECK(tokenizer.decode(tokens, {.skip_special = false}) == text, "not there and back");
    }
    check_stream(tokenizer, tokens, parse);
  }
  MarkedText marked{text, {}};
  for (size_t at = 1; at + 2 < text.size(); at += 5) marked.written.push_back({at, at + 2});
  check_stream(tokenizer, tokenizer.encode(marked), true);
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
