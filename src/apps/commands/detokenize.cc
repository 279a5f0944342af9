#include "apps/commands/detokenize.h"

#include <span>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/input/vocabulary_input.h"
#include "apps/terminal/output.h"

namespace millrace {
namespace {

absl::StatusOr<std::vector<TokenId>> checked(std::span<const int64_t> ids, const Vocab& vocab) {
  std::vector<TokenId> tokens;
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocab.size()) {
      return out_of_range("entry {}: {} is no token of this vocabulary of {}", tokens.size(), id,
                          vocab.size());
    }
    tokens.push_back(static_cast<TokenId>(id));
  }
  return tokens;
}

absl::StatusOr<std::vector<int64_t>> read_ids(std::string_view text) {
  const auto list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return invalid_argument("expected one JSON list of token ids");
  std::vector<int64_t> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer()) return invalid_argument("entry {}: no integer", ids.size());
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

class TextOf {
 public:
  TextOf(const Tokenizer& tokenizer, bool no_special)
      : tokenizer_(tokenizer), skip_special_(no_special) {}

  absl::StatusOr<std::string> operator()(std::span<const int64_t> ids) const {
    ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, checked(ids, tokenizer_.vocab()));
    return tokenizer_.decode(without_added(tokens), {.skip_special = skip_special_});
  }

 private:
  // The BOS and EOS that `tokenize` puts around a text are not its own.
  std::span<const TokenId> without_added(std::span<const TokenId> tokens) const {
    const Vocab& vocab = tokenizer_.vocab();
    if (vocab.add_bos() && !tokens.empty() && tokens.front() == vocab.bos()) {
      tokens = tokens.subspan(1);
    }
    if (vocab.add_eos() && !tokens.empty() && tokens.back() == vocab.eos()) {
      tokens = tokens.first(tokens.size() - 1);
    }
    return tokens;
  }

  const Tokenizer& tokenizer_;
  bool skip_special_;
};

std::string as_json_line(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false,
                                   nlohmann::json::error_handler_t::replace) +
         '\n';
}

}  // namespace

void bind(CLI::App& command, DetokenizeOptions& options) {
  command
      .add_option("model", options.model, "the model: a GGUF file, a tokenizer.json, or its folder")
      ->required()
      ->type_name("MODEL");
  command
      .add_option("ids", options.ids,
                  "token ids; without them a JSON list is read from --file or standard input")
      ->type_name("IDS");
  command.add_option("--file,-f", options.file, "where the list is")->type_name("FILE");
  command.add_flag("--jsonl", options.jsonl, "read one list a line, write one JSON string a line");
  command.add_flag("--no-special", options.no_special,
                   "leave out special tokens, such as <|im_end|>; without it they are spelled");
  bind(command, options.vocabulary);
}

absl::Status run_detokenize(const DetokenizeOptions& options, std::FILE* in, std::FILE* out) {
  if (!options.ids.empty() && (!options.file.empty() || options.jsonl)) {
    return invalid_argument("token ids are given as arguments, or read; not both");
  }
  ASSIGN_OR_RETURN(const auto tokenizer, open_vocabulary(options.model, options.vocabulary));
  const TextOf text_of(*tokenizer, options.no_special);
  if (!options.ids.empty()) {
    ASSIGN_OR_RETURN(const std::string text, text_of(options.ids));
    return write_output(text, out);
  }
  ASSIGN_OR_RETURN(const std::string input, read_input(options.file, in));
  if (!options.jsonl) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids, read_ids(input));
    ASSIGN_OR_RETURN(const std::string text, text_of(ids));
    return write_output(text, out);
  }
  return for_each_line(input, [&](std::string_view line, int64_t number) -> absl::Status {
    const auto ids = read_ids(line);
    const auto text = ids.ok() ? text_of(*ids) : ids.status();
    if (!text.ok()) return invalid_argument("line {}: {}", number, message_of(text.status()));
    return write_output(as_json_line(*text), out);
  });
}

}  // namespace millrace
