#include "apps/conversion/gguf_vocabulary.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <absl/strings/escaping.h>
#include <spdlog/spdlog.h>

#include "apps/input/generation_config.h"
#include "apps/input/model_folder.h"
#include "base/json/json_node.h"
#include "chat/folder_templates.h"
#include "text/split/split_patterns.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

// What tells tokenizers apart: words, contractions, cases, numbers, spaces, ends of lines, marks,
// scripts, code, and what few vocabularies have.
constexpr std::string_view kProbes[] = {
    "Hello, world! It's we'll I'VE don't HE'D 1 12 123 1234 12345678901 3.14159 1,000,000",
    "snake_case camelCase HTTPServer XMLHttpRequest2 i++; if (a[0] != b->c) { return \"x\\n\"; } "
    "// --- *** ###",
    "naïve café Ünïcödé ﬁ ½ ² Ⅷ ß İı ǅ — “quotes” ‘single’ … • ©",
    "Привет, мир 2024 Ελληνικά שלום عربى हिन्दी ไทย 한국어 日本語テキスト 中文字符，标点。１２３",
    "👍🏽 👨‍👩‍👧 🇩🇪 😀😀 \xe2\x80\x8b \xc2\xa0 \xe3\x80\x80 end",
    "!!!??? ...,,, ((())) [[]] {{}} <<>> ||| &&& $$$ %%% @@@ ~~~ ``` ''' \"\"\" /path/to/file.txt",
    "",
};

// Several spaces, and those at the ends of a text.
constexpr std::string_view kSpaceProbes[] = {
    " leading and  double   triple    spaces \n\n\n new \t\ttabs \r\n lines\n \n  \n",
    "  a b  c ",
    "   ",
};

// A letter and its accent apart: some tokenizers make one character of them (NFC), which GGUF files
// cannot say, and which the converters of the field leave out as well.
constexpr std::string_view kDecomposed = "cafe\xcc\x81";

bool agree_on(std::string_view text, const Tokenizer& a, const Tokenizer& b) {
  return a.encode(text) == b.encode(text) &&
         a.encode(text, {.add_special = false}) == b.encode(text, {.add_special = false}) &&
         a.decode(a.encode(text)) == b.decode(b.encode(text));
}

bool agree(const Tokenizer& a, const Tokenizer& b, bool in_spaces) {
  const auto agrees = [&](std::string_view text) { return agree_on(text, a, b); };
  if (!std::ranges::all_of(kProbes, agrees)) return false;
  if (in_spaces && !std::ranges::all_of(kSpaceProbes, agrees)) return false;
  if (!agrees(kDecomposed)) {
    spdlog::warn(
        "tokenizer.json composes characters (NFC), which a GGUF file cannot say: text with "
        "accents apart from their letters will be other tokens");
  }
  return true;
}

// The expressions by which a `pre_tokenizer` cuts, in order.
absl::Status add_expressions(const JsonNode& node, std::vector<std::string>& expressions) {
  if (node.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string_view type, node.string_at("type"));
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const JsonNode parts, node.at("pretokenizers"));
    return parts.for_each_element(
        [&](int64_t, const JsonNode& part) { return add_expressions(part, expressions); });
  }
  if (type == "Split") {
    ASSIGN_OR_RETURN(const JsonNode pattern, node.at("pattern"));
    ASSIGN_OR_RETURN(const std::string_view regex, pattern.string_at("Regex", ""));
    expressions.emplace_back(regex);
  } else if (type == "ByteLevel") {
    ASSIGN_OR_RETURN(const bool cuts, node.boolean_at("use_regex", true));
    const SplitPattern* usual = find_split_pattern("gpt-2");
    if (cuts) expressions.emplace_back(usual->used_steps()[0].expression);
  }
  return absl::OkStatus();
}

// Ways to cut words, the likeliest first: those that cut by these very expressions.
std::vector<const SplitPattern*> likely_patterns(const std::vector<std::string>& expressions,
                                                 bool ignores_merges) {
  std::vector<const SplitPattern*> patterns;
  for (const SplitPattern& pattern : split_patterns()) {
    if (!pattern.of_characters) patterns.push_back(&pattern);
  }
  const auto is_unlike = [&](const SplitPattern* pattern) {
    const bool same =
        std::ranges::equal(pattern->used_steps(), expressions, {}, &SplitStep::expression);
    return (same ? 0 : 2) + (pattern->ignore_merges == ignores_merges ? 0 : 1);
  };
  std::ranges::stable_sort(patterns, {}, is_unlike);
  return patterns;
}

// SentencePiece's map of characters, wherever the normaliser has it.
absl::Status add_charsmap(const JsonNode& node, Metadata& metadata) {
  if (node.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonNode parts, node.at("normalizers"));
  if (!parts.is_null()) {
    return parts.for_each_element(
        [&](int64_t, const JsonNode& part) { return add_charsmap(part, metadata); });
  }
  ASSIGN_OR_RETURN(const std::string_view base64, node.string_at("precompiled_charsmap", ""));
  std::string blob;
  if (!absl::Base64Unescape(to_absl(base64), &blob)) return node.error("is not base64");
  if (blob.empty()) return absl::OkStatus();
  std::vector<int64_t> bytes;
  for (const char c : blob) bytes.push_back(static_cast<unsigned char>(c));
  metadata.set_integers("tokenizer.ggml.precompiled_charsmap", MetaType::kU8, bytes);
  return absl::OkStatus();
}

class Conversion {
 public:
  Conversion(const Tokenizer& tokenizer, JsonNode root, JsonNode model, Metadata& metadata)
      : tokenizer_(tokenizer),
        root_(std::move(root)),
        model_(std::move(model)),
        metadata_(metadata) {}

  absl::Status add();

 private:
  absl::StatusOr<std::optional<TokenId>> find_unknown() const;
  absl::Status add_tokens();
  absl::Status add_merges();
  absl::Status add_scores();
  void add_roles();
  absl::StatusOr<bool> fits(bool in_spaces = true) const;
  absl::Status choose_split();
  absl::Status choose_spaces();
  absl::Status add_bpe();
  absl::Status add_unigram();

  const Tokenizer& tokenizer_;
  const JsonNode root_, model_;
  Metadata& metadata_;
  bool has_bytes_ = false;  // <0xNN> tokens
  std::vector<std::string> merges_;
};

// By `unk_id`, or by its text, where bytes that no token covers become it.
absl::StatusOr<std::optional<TokenId>> Conversion::find_unknown() const {
  ASSIGN_OR_RETURN(const JsonNode node, model_.at("unk_id"));
  if (!node.is_null()) {
    ASSIGN_OR_RETURN(const int64_t id, node.integer(0, tokenizer_.vocab().size() - 1));
    return std::optional(static_cast<TokenId>(id));
  }
  ASSIGN_OR_RETURN(const std::string_view text, model_.string_at("unk_token", ""));
  return text.empty() || !has_bytes_ ? std::nullopt : tokenizer_.vocab().find(text);
}

absl::Status Conversion::add_tokens() {
  const Vocab& vocab = tokenizer_.vocab();
  std::vector<std::string> texts;
  std::vector<int64_t> kinds;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    std::string text(vocab.text(id));
    if (text.empty()) text = fmt::format("[PAD{}]", id);
    if (vocab.text(id).empty() && vocab.find(text)) {
      return unimplemented(
          "tokenizer.json: a token is spelled '{}', as GGUF files call unused ones", text);
    }
    has_bytes_ |= vocab.kind(id) == TokenKind::kByte;
    texts.push_back(std::move(text));
    kinds.push_back(static_cast<int64_t>(vocab.kind(id)));
  }
  ASSIGN_OR_RETURN(const std::optional<TokenId> unknown, find_unknown());
  if (unknown) {
    kinds[static_cast<size_t>(*unknown)] = static_cast<int64_t>(TokenKind::kUnknown);
    metadata_.set_integer("tokenizer.ggml.unknown_token_id", MetaType::kU32, *unknown);
  }
  metadata_.set_strings("tokenizer.ggml.tokens", texts);
  metadata_.set_integers("tokenizer.ggml.token_type", MetaType::kI32, kinds);
  return absl::OkStatus();
}

absl::Status Conversion::add_merges() {
  ASSIGN_OR_RETURN(const JsonNode list, model_.at("merges"));
  return list.for_each_element([&](int64_t, const JsonNode& node) -> absl::Status {
    if (node.is_string()) {
      ASSIGN_OR_RETURN(const std::string_view merge, node.string());
      merges_.emplace_back(merge);
      return absl::OkStatus();
    }
    std::string merge;
    RETURN_IF_ERROR(node.for_each_element([&](int64_t i, const JsonNode& part) -> absl::Status {
      ASSIGN_OR_RETURN(const std::string_view text, part.string());
      if (text.find(' ') != std::string_view::npos) {
        return part.not_done("has a space, which merges in GGUF files cannot have");
      }
      if (i > 0) merge += ' ';
      merge += text;
      return absl::OkStatus();
    }));
    merges_.push_back(std::move(merge));
    return absl::OkStatus();
  });
}

// SentencePiece's BPE joins what makes the token of the highest score: what is merged first.
absl::Status Conversion::add_scores() {
  const Vocab& vocab = tokenizer_.vocab();
  std::vector<double> scores(static_cast<size_t>(vocab.size()), 0);
  for (size_t rank = merges_.size(); rank-- > 0;) {
    const std::string& merge = merges_[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) continue;
    const auto id = vocab.find(merge.substr(0, space) + merge.substr(space + 1));
    if (id) scores[static_cast<size_t>(*id)] = -1 - static_cast<double>(rank);
  }
  metadata_.set_numbers("tokenizer.ggml.scores", scores);
  return absl::OkStatus();
}

void Conversion::add_roles() {
  const Vocab& vocab = tokenizer_.vocab();
  const auto set = [&](std::string_view name, std::optional<TokenId> id, bool adds) {
    if (id) {
      metadata_.set_integer(fmt::format("tokenizer.ggml.{}_token_id", name), MetaType::kU32, *id);
    }
    metadata_.set_boolean(fmt::format("tokenizer.ggml.add_{}_token", name), id && adds);
  };
  set("bos", vocab.bos(), vocab.add_bos());
  set("eos", vocab.eos(), vocab.add_eos());
}

absl::StatusOr<bool> Conversion::fits(bool in_spaces) const {
  const auto made = Tokenizer::create(metadata_);
  return made.ok() && agree(**made, tokenizer_, in_spaces);
}

// The first name of a way to cut words that cuts as this tokenizer does.
absl::Status Conversion::choose_split() {
  constexpr std::string_view kKey = "tokenizer.ggml.pre";
  metadata_.set_string("tokenizer.ggml.model", "gpt2");
  metadata_.set_strings("tokenizer.ggml.merges", merges_);
  std::vector<std::string> expressions;
  ASSIGN_OR_RETURN(const JsonNode cutter, root_.at("pre_tokenizer"));
  RETURN_IF_ERROR(add_expressions(cutter, expressions));
  ASSIGN_OR_RETURN(const bool ignores_merges, model_.boolean_at("ignore_merges", false));
  for (const SplitPattern* pattern : likely_patterns(expressions, ignores_merges)) {
    const std::string_view name = pattern->names.substr(0, pattern->names.find(' '));
    metadata_.set_string(std::string(kKey), std::string(name));
    ASSIGN_OR_RETURN(const bool fits_here, fits());
    if (fits_here) return absl::OkStatus();
  }
  return unimplemented(
      "tokenizer.json: no name that GGUF files have for a way to cut words ('{}') cuts as this "
      "tokenizer does",
      kKey);
}

absl::Status Conversion::choose_spaces() {
  metadata_.set_string("tokenizer.ggml.model", "llama");
  metadata_.set_string("tokenizer.ggml.pre", "default");
  for (const bool adds_space : {false, true}) {
    metadata_.set_boolean("tokenizer.ggml.add_space_prefix", adds_space);
    ASSIGN_OR_RETURN(const bool fits_here, fits());
    if (fits_here) return absl::OkStatus();
  }
  return unimplemented(
      "tokenizer.json: its merges of characters do not do what SentencePiece's "
      "do, as GGUF files have them");
}

absl::Status Conversion::add_bpe() {
  RETURN_IF_ERROR(add_merges());
  if (!has_bytes_) return choose_split();
  RETURN_IF_ERROR(add_scores());
  return choose_spaces();
}

absl::Status Conversion::add_unigram() {
  std::vector<double> scores(static_cast<size_t>(tokenizer_.vocab().size()), 0);
  ASSIGN_OR_RETURN(const JsonNode list, model_.at("vocab"));
  RETURN_IF_ERROR(list.for_each_element([&](int64_t id, const JsonNode& piece) -> absl::Status {
    return piece.for_each_element([&](int64_t i, const JsonNode& part) -> absl::Status {
      if (i == 0) return absl::OkStatus();
      ASSIGN_OR_RETURN(scores[static_cast<size_t>(id)], part.number());
      return absl::OkStatus();
    });
  }));
  metadata_.set_numbers("tokenizer.ggml.scores", scores);
  ASSIGN_OR_RETURN(const JsonNode normaliser, root_.at("normalizer"));
  RETURN_IF_ERROR(add_charsmap(normaliser, metadata_));
  metadata_.set_string("tokenizer.ggml.model", "t5");
  metadata_.set_string("tokenizer.ggml.pre", "default");
  for (const bool in_spaces : {true, false}) {
    for (const int choice : {0, 1, 2, 3}) {
      metadata_.set_boolean("tokenizer.ggml.add_space_prefix", choice % 2 == 0);
      metadata_.set_boolean("tokenizer.ggml.remove_extra_whitespaces", choice / 2 == 0);
      ASSIGN_OR_RETURN(const bool fits_here, fits(in_spaces));
      if (!fits_here) continue;
      if (!in_spaces) {
        spdlog::warn(
            "several spaces, and those at the ends of a text, will be other tokens than "
            "tokenizer.json makes of them, which a GGUF file cannot say");
      }
      return absl::OkStatus();
    }
  }
  return unimplemented("tokenizer.json: what it does around its unigrams, GGUF files cannot say");
}

absl::Status Conversion::add() {
  RETURN_IF_ERROR(add_tokens());
  add_roles();
  ASSIGN_OR_RETURN(const std::string_view type, model_.string_at("type", "BPE"));
  if (type == "BPE") return add_bpe();
  if (type == "Unigram") return add_unigram();
  return unimplemented(
      "tokenizer.json: a vocabulary of the type '{}' cannot be written to GGUF; "
      "BPE and Unigram can",
      type.substr(0, 40));
}

// The end of answers that is not the vocabulary's own, if there is one.
absl::Status add_end_of_turn(const std::string& folder, const Vocab& vocab, Metadata& metadata) {
  ASSIGN_OR_RETURN(const AnswerDefaults defaults,
                   read_answer_defaults(folder, "auto", vocab.size()));
  constexpr const char* kEos = "tokenizer.ggml.eos_token_id";
  std::optional<TokenId> eos = vocab.eos();
  for (const TokenId end : defaults.ends) {
    if (!eos) {
      eos = end;
      metadata.set_integer(kEos, MetaType::kU32, end);
    } else if (end != *eos) {
      metadata.set_integer("tokenizer.ggml.eot_token_id", MetaType::kU32, end);
      break;
    }
  }
  return absl::OkStatus();
}

void add_templates(const Metadata& templates, Metadata& metadata) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  std::vector<std::string> names;
  for (const auto& [key, value] : templates.entries()) {
    metadata.set_string(key, std::string(std::get<std::string_view>(value.value)));
    if (key.size() > kKey.size()) names.push_back(key.substr(kKey.size() + 1));
  }
  if (!names.empty()) metadata.set_strings("tokenizer.chat_templates", names);
}

}  // namespace

absl::Status add_vocabulary(const std::string& folder, int32_t vocab_size, Metadata& metadata) {
  if (!std::filesystem::exists(std::filesystem::path(folder) / "tokenizer.json")) {
    metadata.set_string("tokenizer.ggml.model", "no_vocab");
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const ModelFolder files, read_model_folder(folder));
  ASSIGN_OR_RETURN(const auto tokenizer,
                   Tokenizer::from_json(files.tokenizer, files.config, vocab_size));
  if (tokenizer->vocab().size() > vocab_size) {
    return invalid_argument("tokenizer.json has {} tokens, but the model's embedding has {} rows",
                            tokenizer->vocab().size(), vocab_size);
  }
  ASSIGN_OR_RETURN(const JsonNode root, JsonNode::parse(files.tokenizer, "tokenizer.json"));
  ASSIGN_OR_RETURN(JsonNode model, root.at("model"));
  RETURN_IF_ERROR(Conversion(*tokenizer, root, std::move(model), metadata).add());
  RETURN_IF_ERROR(add_end_of_turn(folder, tokenizer->vocab(), metadata));
  ASSIGN_OR_RETURN(const Metadata templates, folder_templates(files.config, files.chat_template));
  add_templates(templates, metadata);
  return absl::OkStatus();
}

}  // namespace millrace
