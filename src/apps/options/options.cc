#include "apps/options/options.h"

#include <charconv>
#include <limits>
#include <map>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/system/cpus.h"

namespace millrace {
namespace {

std::optional<int64_t> unit_of(std::string_view suffix) {
  constexpr std::string_view kDecimal = "kmgt", kBinary = "KMGT";
  if (suffix.empty()) return 1;
  if (suffix.size() > 1) return std::nullopt;
  const bool decimal = kDecimal.find(suffix) != std::string_view::npos;
  const size_t power = decimal ? kDecimal.find(suffix) : kBinary.find(suffix);
  if (power == std::string_view::npos) return std::nullopt;
  int64_t unit = 1;
  for (size_t i = 0; i <= power; ++i) unit *= decimal ? 1000 : 1024;
  return unit;
}

std::string isa_names() {
  std::string names;
  for (const Isa isa : all_isas())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name_of(isa));
  return names;
}

}  // namespace

int ComputeOptions::lanes() const { return threads > 0 ? threads : usable_cpus(); }

absl::StatusOr<Isa> ComputeOptions::chosen_isa() const {
  if (isa.empty()) return best_isa();
  return isa_named(isa);
}

ActivationMode ComputeOptions::activation_mode() const {
  if (activations == "q8") return ActivationMode::kQ8;
  if (activations == "q16") return ActivationMode::kQ16;
  return activations == "f32" ? ActivationMode::kF32 : ActivationMode::kMixed;
}

DType ComputeOptions::kv_dtype() const {
  if (kv_cache_dtype == "f32") return DType::kF32;
  return kv_cache_dtype == "bf16" ? DType::kBF16 : DType::kF16;
}

CLI::Validator as_size(int64_t min, int64_t max) {
  const auto expand = [min, max](std::string& text) -> std::string {
    int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    const auto unit = unit_of({rest, static_cast<size_t>(end - rest)});
    if (error != std::errc() || !unit || number < 0 ||
        number > std::numeric_limits<int64_t>::max() / *unit) {
      return fmt::format("'{}' is not a size such as 4096, 4k or 2M", text);
    }
    const int64_t size = number * *unit;
    if (size < min || size > max) return fmt::format("{} is not within {} to {}", size, min, max);
    text = fmt::to_string(size);
    return {};
  };
  return CLI::Validator(expand, "");
}

CLI::Validator number_within(double min, double max) {
  const auto judge = [min, max](const std::string& text) -> std::string {
    double number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (error == std::errc() && rest == end && number >= min && number <= max) return {};
    return fmt::format("'{}' is not a number within {} to {}", text, min, max);
  };
  return CLI::Validator(judge, fmt::format("in [{}, {}]", min, max));
}

CLI::Validator not_empty() {
  const auto judge = [](const std::string& text) -> std::string {
    return text.empty() ? "the value is empty" : "";
  };
  return CLI::Validator(judge, "");
}

void bind(CLI::App& command, ComputeOptions& options) {
  command
      .add_option("model,-m,--model", options.model,
                  "the model: a GGUF file (any of its parts), or a Hugging Face folder")
      ->required()
      ->type_name("MODEL");
  const std::string group = "Computing";
  command.add_option("--threads,-t", options.threads, "0: the CPUs this process may use")
      ->check(CLI::Range(0, 1024))
      ->type_name("N")
      ->group(group);
  command
      .add_option("--isa", options.isa,
                  "instruction set: " + isa_names() + "; default: the best here")
      ->type_name("NAME")
      ->group(group);
  command
      .add_option("--activations", options.activations,
                  "inputs of products: q8: 8 bits a value for quantised weights, bfloat16 for BF16 "
                  "weights where the CPU has such products; q16: 16 bits a value for quantised "
                  "weights; mixed: q16 for queries, keys, values and logits, else q8; f32")
      ->check(CLI::IsMember({"q8", "mixed", "q16", "f32"}))
      ->type_name("TYPE")
      ->group(group);
  bind_kv_cache_dtype(command, options.kv_cache_dtype, group);
  CLI::Option* const packs =
      command
          .add_option("--pack-cache", options.pack_cache,
                      "folder in which the packed weights are kept, as many bytes again as the "
                      "model; the next start reads them as they are")
          ->check(not_empty())
          ->type_name("DIR")
          ->group(group);
  command
      .add_option("--weight-memory", options.weight_memory,
                  "memory for weights, such as 400M; what does not fit is read from --pack-cache "
                  "in each step; 0: all fit")
      ->transform(as_size(0))
      ->needs(packs)
      ->type_name("BYTES")
      ->group(group);
}

void bind_kv_cache_dtype(CLI::App& command, std::string& dtype, const std::string& group) {
  const std::map<std::string, std::string> other_names = {
      {"auto", "f16"}, {"float16", "f16"}, {"bfloat16", "bf16"}, {"float32", "f32"}};
  command.add_option("--kv-cache-dtype", dtype, "keys and values: f16, bf16 or f32")
      ->transform(CLI::Transformer(other_names).description(""))
      ->check(CLI::IsMember({"f16", "bf16", "f32"}))
      ->type_name("TYPE")
      ->group(group);
}

void bind(CLI::App& command, VocabularyOptions& options) {
  command
      .add_option(
          "--pre", options.pre,
          "how text is split before merges, where the file's tokenizer.ggml.pre is wrong or "
          "unknown: llama-bpe, qwen2, ...")
      ->type_name("NAME")
      ->group("Vocabulary");
}

void bind(CLI::App& command, EngineLimits& limits) {
  const std::string group = "Memory and batching (sizes may be given as 4k or 2M)";
  constexpr int64_t kRowsMax = int64_t{1} << 20;  // of a step: positions, and sequences
  const auto size = [&](const char* name, int64_t& value, const CLI::Validator& range,
                        const char* help) {
    command.add_option(name, value, help)->transform(range)->type_name("N")->group(group);
  };
  size("--max-model-len", limits.max_model_len, as_size(0, std::numeric_limits<int32_t>::max()),
       "longest prompt and answer together; 0: the model's own");
  size("--max-num-seqs,--parallel", limits.max_num_seqs, as_size(1, kRowsMax),
       "sequences computed at once");
  size("--max-num-batched-tokens,-b,--batch-size", limits.max_num_batched_tokens,
       as_size(1, kRowsMax), "tokens computed in one step; longer prompts are cut into chunks");
  size(
      "--long-prefill-token-threshold", limits.long_prefill_token_threshold, as_size(),
      "a prompt with more tokens left is long: it leaves half of each step to prompts with at most "
      "half as many; 0: a quarter of --max-num-batched-tokens");
  size("--kv-cache-memory-bytes", limits.kv_cache_memory_bytes, as_size(0),
       "0: for all sequences at full length, but at most a quarter of the memory");
  size("--block-size", limits.block_size, as_size(1, 1024), "tokens in a block of the cache");
  command
      .add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", limits.prefix_caching,
                "reuse what earlier prompts share")
      ->group(group);
  size("--state-snapshot-tokens", limits.state_snapshot_tokens,
       as_size(0, std::numeric_limits<int32_t>::max()),
       "for that, keep a recurrent model's state every so many tokens; 0: only where prompts and "
       "answers end");
}

}  // namespace millrace
