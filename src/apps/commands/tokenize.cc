#include "apps/commands/tokenize.h"

#include <time.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/input/vocabulary_input.h"
#include "apps/terminal/one_line.h"
#include "apps/terminal/output.h"

namespace millrace {
namespace {

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
    const std::vector<TokenId> tokens = encode(text);
    if (options_.count) return fmt::format("{}\n", tokens.size());
    if (!options_.pieces) return fmt::format("[{}]\n", fmt::join(tokens, ", "));
    if (options_.jsonl) return pieces_json(tokens);
    std::string lines;
    for (const TokenId id : tokens) {
      lines += fmt::format("{:>7}  {}\n", id, one_line(tokenizer_.piece(id)));
    }
    return lines;
  }

  std::vector<TokenId> encode(std::string_view text) const {
    const Vocab& vocab = tokenizer_.vocab();
    std::vector<TokenId> tokens = tokenizer_.encode(
        text,
        {.add_special = options_.add_bos.value_or(true), .parse_special = !options_.no_special});
    if (options_.add_bos == true && !vocab.add_bos()) tokens.insert(tokens.begin(), *vocab.bos());
    return tokens;
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

// Of this thread: what else runs on the machine does not count.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// What each encoding takes, in order: the first begins with an empty cache of words.
void print_timings(const Printer& printer, std::string_view text, int times) {
  std::vector<double> seconds;
  for (int i = 0; i < times; ++i) {
    const double begin = cpu_seconds();
    printer.encode(text);
    seconds.push_back(cpu_seconds() - begin);
  }
  const nlohmann::json report = {{"bytes", text.size()}, {"cpu_seconds", seconds}};
  fmt::print(stderr, "{}\n", report.dump());
}

}  // namespace

void bind(CLI::App& command, TokenizeOptions& options) {
  command
      .add_option("model", options.model, "the model: a GGUF file, a tokenizer.json, or its folder")
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
  // A flag bound to the optional itself would be false where it was not given.
  command
      .add_flag_function(
          "--add-bos,!--no-add-bos", [&options](int64_t times) { options.add_bos = times > 0; },
          "begin with BOS, or have neither BOS nor EOS; without it: as the vocabulary says")
      ->group(reading);
  command
      .add_flag("--no-special", options.no_special,
                "spellings of special tokens, such as <|im_end|>, are plain text")
      ->group(reading);
  command
      .add_option(
          "--timings", options.timings,
          "encode the text N times and write the seconds of CPU time to standard error, as JSON")
      ->check(CLI::Range(0, 1000000))
      ->type_name("N");
  bind(command, options.vocabulary);
}

absl::Status run_tokenize(const TokenizeOptions& options, std::FILE* in, std::FILE* out) {
  ASSIGN_OR_RETURN(const auto tokenizer, open_vocabulary(options.model, options.vocabulary));
  if (options.add_bos == true && !tokenizer->vocab().bos()) {
    return invalid_argument("--add-bos: this vocabulary has no BOS");
  }
  ASSIGN_OR_RETURN(const std::string text, read_input(options.file, in));
  const Printer printer(*tokenizer, options);
  if (options.timings > 0) print_timings(printer, text, options.timings);
  if (!options.jsonl) return write_output(printer.print(text), out);
  return for_each_line(text, [&](std::string_view line, int64_t number) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string string, text_of_line(line, number));
    return write_output(printer.print(string), out);
  });
}

}  // namespace millrace
