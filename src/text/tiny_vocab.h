#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metadata.h"
#include "text/vocab.h"

namespace millrace {

// Vocabularies small enough to see through, as the metadata that a model file would have. For tests
// and fuzz targets.
struct TinyVocab {
  std::vector<std::string> tokens;
  std::vector<double> scores;
  std::vector<int64_t> kinds;
  std::vector<std::string> merges;

  int32_t add(std::string text, TokenKind kind = TokenKind::kNormal, double score = 0) {
    tokens.push_back(std::move(text));
    scores.push_back(score);
    kinds.push_back(static_cast<int64_t>(kind));
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  // Both parts are tokens; what they join to becomes one if it is none.
  void merge(std::string_view left, std::string_view right) {
    merges.push_back(std::string(left) + " " + std::string(right));
    std::string joined = std::string(left) + std::string(right);
    for (const std::string& token : tokens) {
      if (token == joined) return;
    }
    add(std::move(joined));
  }
  Metadata metadata(std::string model, std::string pre = "") const {
    Metadata metadata;
    metadata.set_string("tokenizer.ggml.model", std::move(model));
    if (!pre.empty()) metadata.set_string("tokenizer.ggml.pre", std::move(pre));
    metadata.set_strings("tokenizer.ggml.tokens", tokens);
    metadata.set_numbers("tokenizer.ggml.scores", scores);
    metadata.set_integers("tokenizer.ggml.token_type", MetaType::kI32, kinds);
    if (!merges.empty()) metadata.set_strings("tokenizer.ggml.merges", merges);
    return metadata;
  }
};

// Token i of 0 to 255 is byte i; then some merges ("Ġ" is the space) and two control tokens:
// <|im_start|> and <|im_end|>.
inline TinyVocab tiny_bpe() {
  TinyVocab vocab;
  int moved = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    const int code = itself ? byte : 0x100 + moved++;
    if (code < 0x80) {
      vocab.add(std::string(1, static_cast<char>(code)));
    } else {
      vocab.add({static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))});
    }
  }
  vocab.merge("h", "e");
  vocab.merge("l", "l");
  vocab.merge("he", "ll");
  vocab.merge("hell", "o");
  vocab.merge("Ġ", "hello");
  vocab.merge("a", "a");
  vocab.merge("aa", "aa");
  vocab.merge("1", "2");
  vocab.add("<|im_start|>", TokenKind::kControl);
  vocab.add("<|im_end|>", TokenKind::kControl);
  return vocab;
}

// <unk>, <s>, </s>, then byte i as token 3 + i, then a few pieces.
inline TinyVocab tiny_spm() {
  TinyVocab vocab;
  vocab.add("<unk>", TokenKind::kUnknown);
  vocab.add("<s>", TokenKind::kControl);
  vocab.add("</s>", TokenKind::kControl);
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    vocab.add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", TokenKind::kByte);
  }
  double score = -1;
  for (const char* piece : {"▁▁", "▁h", "ll", "▁he", "▁hell", "▁hello", "or", "aa", "aaaa", "▁",
                            "h", "e", "l", "o", "r", "a", "w", "d"}) {
    vocab.add(piece, TokenKind::kNormal, score--);
  }
  return vocab;
}

}  // namespace millrace
