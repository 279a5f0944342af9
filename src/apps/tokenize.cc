#include "apps/tokenize.h"

#include <array>
#include <memory>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/one_line.h"
#include "files/checkpoint.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using FileHandle = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

absl::StatusOr<std::string> read_all(std::FILE* in) {
  std::string text;
  std::array<char, 1 << 16> part;
  while (const size_t read = std::fread(part.data(), 1, part.size(), in)) {
    text.append(part.data(), read);
  }
  if (std::ferror(in) != 0) return invalid_argument("the text could not be read");
  return text;
}

absl::StatusOr<std::string> text_of_line(std::string_view line, int64_t number) {
  const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_string()) return invalid_argument("line {}: expected one JSON string", number);
  return value.get<std::string>();
}

class Printer {
 public:
  Printer(const Tokenizer& tokenizer, const TokenizeOptions& options)
      : tokenizer_(tokenizer), options_(options) {}

  // One line, or one for each token where pieces are shown.
  std::string print(std::string_view text) const {
    const std::vector<TokenId> tokens = tokenizer_.encode(
        text, {.add_special = options_.add_bos, .parse_special = !options_.no_special});
    if (options_.count) return fmt::format("{}\n", tokens.size());
    if (!options_.pieces) return fmt::format("[{}]\n", fmt::join(tokens, ", "));
    if (options_.jsonl) return pieces_json(tokens);
    std::string lines;
    for (const TokenId id : tokens) {
      lines += fmt::format("{:>7}  {}\n", id, one_line(tokenizer_.piece(id)));
    }
    return lines;
  }

 private:
  std::string pieces_json(const std::vector<TokenId>& tokens) const {
    nlohmann::json list = nlohmann::json::array();
    for (const TokenId id : tokens) list.push_back(one_line(tokenizer_.piece(id)));
    return list.dump() + '\n';
  }

  const Tokenizer& tokenizer_;
  const TokenizeOptions& options_;
};

absl::Status write(const std::string& text, std::FILE* out) {
  if (std::fwrite(text.data(), 1, text.size(), out) == text.size()) return absl::OkStatus();
  return internal_error("the tokens could not be written");
}

absl::Status print_lines(const Printer& printer, std::string_view text, std::FILE* out) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    ASSIGN_OR_RETURN(const std::string string, text_of_line(line, number));
    RETURN_IF_ERROR(write(printer.print(string), out));
  }
  return absl::OkStatus();
}

}  // namespace

void bind(CLI::App& command, TokenizeOptions& options) {
  command.add_option("model", options.model, "the model, a GGUF file")
      ->required()
      ->type_name("MODEL");
  command
      .add_option("--file,-f", options.file,
                  "the text, read to its last byte; without it: standard input")
      ->type_name("FILE");
  command.add_flag("--jsonl", options.jsonl,
                   "read one JSON string a line, write one result a line");
  const std::string shown = "What is written";
  CLI::Option* ids =
      command.add_flag("--ids", options.ids, "a JSON list of token ids (the default)")
          ->group(shown);
  CLI::Option* pieces =
      command
          .add_flag("--pieces", options.pieces,
                    "what each token stands for, escaped: a line each, with --jsonl a list")
          ->group(shown)
          ->excludes(ids);
  command.add_flag("--count", options.count, "the number of tokens")
      ->group(shown)
      ->excludes(ids)
      ->excludes(pieces);
  const std::string reading = "How text is read";
  command
      .add_flag("--add-bos,!--no-add-bos", options.add_bos,
                "BOS and EOS where the model wants them (the default), or never")
      ->group(reading);
  command
      .add_flag("--no-special", options.no_special,
                "spellings of special tokens, such as <|im_end|>, are plain text")
      ->group(reading);
}

absl::Status run_tokenize(const TokenizeOptions& options, std::FILE* in, std::FILE* out) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.model));
  ASSIGN_OR_RETURN(const std::unique_ptr<const Tokenizer> tokenizer,
                   Tokenizer::create(checkpoint.metadata()));
  FileHandle file(nullptr, std::fclose);
  if (!options.file.empty()) {
    file.reset(std::fopen(options.file.c_str(), "rbe"));
    if (file == nullptr) return not_found("cannot open '{}'", options.file);
  }
  ASSIGN_OR_RETURN(const std::string text, read_all(file != nullptr ? file.get() : in));
  const Printer printer(*tokenizer, options);
  if (options.jsonl) return print_lines(printer, text, out);
  return write(printer.print(text), out);
}

}  // namespace millrace
