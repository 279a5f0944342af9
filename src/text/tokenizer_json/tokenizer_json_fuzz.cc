#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

// Input: a tokenizer.json, perhaps a NUL and a text.
void run(std::string_view input) {
  const size_t end = input.find('\0');
  const std::string_view json = input.substr(0, end);
  std::string text = "Hello \xE4\xB8\x96 e\xCC\x81 <s>  12\n";
  if (end != std::string_view::npos) text += input.substr(end + 1, 200);
  const auto tokenizer = Tokenizer::from_json(json);
  if (!tokenizer.ok()) {
    CHECK(!message_of(tokenizer.status()).empty(), "refused without a word");
    return;
  }
  const Tokenizer& made = **tokenizer;
  const auto tokens = made.encode(MarkedText{text, {{0, text.size()}}});
  const auto plain = made.encode(text, {.add_special = false, .parse_special = false});
  for (const TokenId id : plain) CHECK(made.vocab().contains(id), "{} is no token", id);
  made.decode(tokens);
  made.decode(plain, {.skip_special = false});
  CHECK(made.encode(text) == made.encode(text), "another answer the second time");
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
