#include "server/token_text.h"

#include "text/stream.h"

namespace millrace {

std::string text_of(const Tokenizer& tokenizer, TokenId token) {
  TextStream stream(tokenizer, {.stops = {}, .skip_special = false});
  std::string text = stream.push(token);
  return text + stream.finish();
}

Json bytes_json(std::string_view bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

}  // namespace millrace
