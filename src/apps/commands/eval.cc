#include "apps/commands/eval.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "apps/input/input_text.h"
#include "apps/input/loaded.h"
#include "apps/input/model_text.h"
#include "apps/terminal/progress.h"
#include "exec/fixed_sequences.h"
#include "exec/perplexity.h"
#include "models/spec.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

// Tokens computed in one step: enough for the matrix products to run at their best.
constexpr int32_t kEvalRows = 512;

absl::Status evaluate_text(const EvalOptions& options, const Checkpoint& checkpoint,
                           int32_t vocab_size, std::FILE* out) {
  ASSIGN_OR_RETURN(const std::string text, read_file(options.text));
  ASSIGN_OR_RETURN(const ModelText model_text, open_model_text(options.compute.model, checkpoint,
                                                               options.vocabulary, vocab_size));
  const Tokenizer& tokenizer = *model_text.tokenizer;
  const Vocab& vocab = tokenizer.vocab();
  PerplexityOrder order;
  order.tokens = tokenizer.encode(text, {.add_special = true, .parse_special = false});
  order.context = static_cast<int32_t>(options.context);
  order.chunks_max = options.chunks;
  if (vocab.add_bos()) order.first_token = vocab.bos();
  ASSIGN_OR_RETURN(const Loaded loaded, load_for(checkpoint, options.compute));
  if (options.context > loaded.model->spec().context_max) {
    spdlog::warn("--context {} is beyond the {} positions that the model was trained for",
                 options.context, loaded.model->spec().context_max);
  }
  ASSIGN_OR_RETURN(const auto executor,
                   make_executor(loaded, options.compute, 1, order.context, kEvalRows));
  Progress progress("perplexity");
  order.progress = [&](double part, double running) {
    progress.update(part, fmt::format("{:.4f}", running));
  };
  ASSIGN_OR_RETURN(const Perplexity result, measure_perplexity(*executor, order));
  if (options.json) {
    const nlohmann::json report = {{"perplexity", result.value},
                                   {"stderr", result.standard_error},
                                   {"tokens", result.tokens},
                                   {"chunks", result.chunks}};
    fmt::print(out, "{}\n", report.dump());
  } else {
    fmt::print(out, "perplexity {:.4f} ± {:.4f} ({} tokens scored in {} chunks of {})\n",
               result.value, result.standard_error, result.tokens, result.chunks, options.context);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> read_tokens(const std::string& path, int32_t vocab_size) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array() || json.empty()) {
    return invalid_argument("'{}' is not a JSON list of token ids", path);
  }
  std::vector<TokenId> tokens;
  for (const nlohmann::json& id : json) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) {
      return invalid_argument("'{}': entry {} is not a token id below {}", path, tokens.size(),
                              vocab_size);
    }
    tokens.push_back(id.get<TokenId>());
  }
  return tokens;
}

absl::Status write_logits(const EvalOptions& options, const Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const Loaded loaded, load_for(checkpoint, options.compute));
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                   read_tokens(options.tokens, loaded.model->spec().vocab_size));
  const auto size = static_cast<int32_t>(tokens.size());
  ASSIGN_OR_RETURN(const auto executor, make_executor(loaded, options.compute, 1, size, kEvalRows));
  std::ofstream file(options.logits, std::ios::binary);
  FixedSequences sequences(executor->capacity(), size);
  Progress progress("logits");
  for (int32_t at = 0; at < size && file; at += kEvalRows) {
    const int32_t rows = std::min(kEvalRows, size - at);
    sequences.clear();
    sequences.add(0, at,
                  std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
                  SliceWants::kAll);
    std::optional<int64_t> faulty;  // the first token whose logits are not numbers
    const auto write = [&](const WantedLogits& logits) {
      const auto width = static_cast<size_t>(logits.rows.width);
      for (int64_t i = 0; i < logits.rows.rows && !faulty; ++i) {
        const std::span<const float> row(logits.rows.row(i), width);
        if (!std::ranges::all_of(row, [](float logit) { return std::isfinite(logit); })) {
          faulty = at + logits.first + i;
          continue;
        }
        file.write(reinterpret_cast<const char*>(row.data()),
                   static_cast<std::streamsize>(row.size_bytes()));
      }
    };
    RETURN_IF_ERROR(executor->visit_logits(sequences.batch(), write));
    if (faulty) {
      file.close();
      std::remove(options.logits.c_str());
      return internal_error("the logits of token {} are not all numbers", *faulty);
    }
    progress.update(static_cast<double>(at + rows) / size);
  }
  file.close();
  if (!file) return invalid_argument("cannot write '{}'", options.logits);
  return absl::OkStatus();
}

}  // namespace

void bind(CLI::App& command, EvalOptions& options) {
  bind(command, options.compute);
  bind(command, options.vocabulary);
  const std::string perplexity = "Perplexity of a text";
  CLI::Option* text = command.add_option("--text", options.text, "the text, a file")
                          ->type_name("FILE")
                          ->group(perplexity);
  command
      .add_option("--context,-c", options.context, "tokens in a chunk; its second half is scored")
      ->check(CLI::Range(4, 1 << 20))
      ->type_name("N")
      ->group(perplexity);
  command.add_option("--chunks", options.chunks, "chunks to score; 0: all that the text fills")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->group(perplexity);
  command.add_flag("--json", options.json, "print one JSON object")->group(perplexity);
  const std::string logits = "Logits of tokens";
  CLI::Option* tokens = command.add_option("--tokens", options.tokens, "a JSON list of token ids")
                            ->type_name("FILE")
                            ->excludes(text)
                            ->group(logits);
  CLI::Option* target =
      command.add_option("--logits", options.logits, "file to write: float32 [tokens, vocabulary]")
          ->type_name("FILE")
          ->needs(tokens)
          ->group(logits);
  tokens->needs(target);
}

absl::Status run_eval(const EvalOptions& options, std::FILE* out) {
  if (options.text.empty() == options.tokens.empty()) {
    return invalid_argument("eval needs --text FILE, or --tokens FILE with --logits FILE");
  }
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.compute.model));
  ASSIGN_OR_RETURN(const ModelSpec spec, read_spec(checkpoint));  // before the vocabulary
  if (!options.tokens.empty()) return write_logits(options, checkpoint);
  return evaluate_text(options, checkpoint, spec.vocab_size, out);
}

}  // namespace millrace
