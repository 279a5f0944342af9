#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tests/fixtures/text/joined_pieces.h"
#include "tests/fixtures/text/tiny_vocab.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

// Input: a byte of flags, stop strings that end with 0 (as many as the flags' low bits say), then a
// token for each byte: that byte, or where a flag says so one of the last 256 of the vocabulary.
void run(std::string_view input) {
  static const auto tokenizer = Tokenizer::create(tiny_bpe().metadata("gpt2", "gpt-2"));
  if (input.empty()) return;
  const auto flags = static_cast<uint8_t>(input.front());
  input.remove_prefix(1);
  TextStream::Options options{.include_stop = (flags & 8) != 0};
  for (int n = flags & 7; n > 0; --n) {
    const size_t end = input.find('\0');
    if (end == std::string_view::npos || end == 0) break;
    options.stops.emplace_back(input.substr(0, end));
    input.remove_prefix(end + 1);
  }
  const TokenId token_0 = (flags & 16) != 0 ? (*tokenizer)->vocab().size() - 256 : 0;
  options.skip_special = (flags & 32) == 0;
  std::vector<TokenId> tokens;
  for (const char byte : input) tokens.push_back(token_0 + static_cast<uint8_t>(byte));

  TextStream stream(**tokenizer, options);
  const std::string joined = joined_pieces(stream, tokens);

  std::string whole = decoded_whole(**tokenizer, tokens, options.skip_special);
  size_t end = std::string::npos;
  size_t stop_bytes = 0;
  for (const std::string& bytes : options.stops) {
    std::string stop;
    append_replaced(bytes, stop);
    const size_t found = whole.find(stop);
    if (found == std::string::npos) continue;
    const bool first = found + stop.size() < end;
    if (!first && (found + stop.size() > end || stop.size() <= stop_bytes)) continue;
    end = found + stop.size();
    stop_bytes = stop.size();
  }
  CHECK((end != std::string::npos) == (stream.stopped() >= 0), "stopped or not");
  if (end != std::string::npos) whole.resize(options.include_stop ? end : end - stop_bytes);
  CHECK(joined == whole, "the pieces do not join to the whole");
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
