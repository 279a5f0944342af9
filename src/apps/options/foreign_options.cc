#include "apps/options/foreign_options.h"

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace millrace {
namespace {

enum class Takes { kValue, kNothing };

struct ForeignOption {
  const char* names;
  Takes takes;
  std::string_view harmless;  // values that ask for nothing, between spaces
  const char* reason;
};

constexpr const char* kOneProcess = "a model runs in one process on this machine's CPUs";
constexpr const char* kNoGpu = "models run on the CPU";
constexpr const char* kNoAdapters = "there are no LoRA adapters";
constexpr const char* kNoTools = "there is no parsing of tool calls or reasoning";
constexpr const char* kOwnFormat = "weights are computed as the file stores them";
constexpr const char* kLocalFile = "a model is a local GGUF file with its vocabulary in it";
constexpr const char* kNoEmbeddings = "there are no embeddings or rankings";
constexpr const char* kOneCacheType = "--kv-cache-dtype sets keys and values alike";
constexpr const char* kNoSlots = "sequences have no slots; blocks of the cache are shared freely";
constexpr const char* kOneModel = "one model is served";

using enum Takes;
constexpr ForeignOption kForeign[] = {
    // vLLM's.
    {"--tensor-parallel-size", kValue, "1", kOneProcess},
    {"--pipeline-parallel-size", kValue, "1", kOneProcess},
    {"--data-parallel-size", kValue, "1", kOneProcess},
    {"--gpu-memory-utilization", kValue, "", "models run on the CPU; --kv-cache-memory-bytes"},
    {"--prefix-caching-hash-algo", kValue, "sha256 sha256_cbor builtin xxhash xxhash_cbor",
     "the prefix cache compares tokens, not hashes"},
    {"--enable-chunked-prefill", kNothing, "true",
     "a prompt longer than --max-num-batched-tokens is always computed in chunks"},
    {"--no-enable-chunked-prefill", kNothing, "false",
     "a prompt longer than --max-num-batched-tokens is always computed in chunks"},
    {"--scheduling-policy", kValue, "fcfs", "requests are served first come, first served"},
    {"--quantization", kValue, "gguf none", kOwnFormat},
    {"--dtype", kValue, "auto", "weights are computed as the file stores them; --activations"},
    {"--load-format", kValue, "auto gguf", kLocalFile},
    {"--tokenizer", kValue, "", kLocalFile},
    {"--hf-token", kValue, "", kLocalFile},
    {"--revision", kValue, "", kLocalFile},
    {"--enable-lora", kNothing, "false", kNoAdapters},
    {"--lora-modules", kValue, "", kNoAdapters},
    {"--max-loras", kValue, "", kNoAdapters},
    {"--max-lora-rank", kValue, "", kNoAdapters},
    {"--structured-outputs-config", kValue, "", "there are no structured outputs"},
    {"--tool-call-parser", kValue, "", kNoTools},
    {"--enable-auto-tool-choice", kNothing, "false", kNoTools},
    {"--reasoning-parser", kValue, "", kNoTools},
    {"--response-role", kValue, "assistant", "answers come from the assistant"},
    {"--stream-interval", kValue, "1", "a stream sends each token as it comes"},
    {"--root-path", kValue, "", "a proxy takes its prefix off the path"},
    {"--otlp-traces-endpoint", kValue, "", "no traces are sent; the log and /metrics have times"},
    {"--allowed-media-domains", kValue, "", "nothing is ever fetched for a request"},
    {"--enable-log-requests", kNothing, "false",
     "each request has a line in the log; --log-prompts adds its text"},
    {"--disable-log-stats", kNothing, "true false", "there is no periodic line of statistics"},
    // llama-server's.
    {"--ctx-size,-c", kValue, "0",
     "--max-model-len bounds a sequence, --kv-cache-memory-bytes the cache of all"},
    {"--n-predict,-n", kValue, "-1", "a request's max_tokens bounds its answer"},
    {"--ubatch-size", kValue, "", "--max-num-batched-tokens is the size of a step"},
    {"--threads-batch", kValue, "", "--threads computes prompts and answers"},
    {"--n-gpu-layers,--gpu-layers", kValue, "0", kNoGpu},
    {"--flash-attn", kValue, "on auto", "attention is always computed in tiles"},
    {"--cache-type-k", kValue, "", kOneCacheType},
    {"--cache-type-v", kValue, "", kOneCacheType},
    {"--cache-ram", kValue, "0", "--kv-cache-memory-bytes bounds the one cache there is"},
    {"--cache-reuse", kValue, "0", "prefixes are shared, moved pieces are not"},
    {"--slot-save-path", kValue, "", kNoSlots},
    {"--slots", kNothing, "false", kNoSlots},
    {"--hf-repo", kValue, "", kLocalFile},
    {"--metrics", kNothing, "true", "/metrics is always there"},
    {"--props", kNothing, "false", "there is no /props"},
    {"--jinja", kNothing, "true", "chat templates are always Jinja"},
    {"--chat-template-file", kValue, "", "--chat-template takes a file too"},
    {"--reasoning-format", kValue, "none", kNoTools},
    {"--spec-draft-hf", kValue, "", kLocalFile},
    {"--spec-type", kValue, "none", "--speculative-config has the ways to draft"},
    {"--spec-draft-p-split", kValue, "", "--speculative-config has tree_width"},
    {"--spec-draft-threads", kValue, "", "--threads computes drafts too"},
    {"--spec-draft-ngl,--gpu-layers-draft", kValue, "0", kNoGpu},
    {"--spec-draft-type-k,--cache-type-k-draft", kValue, "", kOneCacheType},
    {"--spec-draft-type-v,--cache-type-v-draft", kValue, "", kOneCacheType},
    {"--lora", kValue, "", kNoAdapters},
    {"--pooling", kValue, "none", kNoEmbeddings},
    {"--embeddings", kNothing, "false", kNoEmbeddings},
    {"--rerank", kNothing, "false", kNoEmbeddings},
    {"--timeout", kValue, "", "--header-timeout, --body-timeout, --idle-timeout, --stall-timeout"},
    {"--numa", kValue, "", "threads stay where the system puts them; numactl places them"},
    {"--sleep-idle-seconds", kValue, "-1", "a model stays loaded"},
    {"--models-dir", kValue, "", kOneModel},
    {"--models-preset", kValue, "", kOneModel},
};

struct ShortWord {
  std::string_view word, name;
};
constexpr ShortWord kShortWords[] = {
    {"-np", "--parallel"},         {"-tb", "--threads-batch"}, {"-ub", "--ubatch-size"},
    {"-ngl", "--n-gpu-layers"},    {"-fa", "--flash-attn"},    {"-ctk", "--cache-type-k"},
    {"-ctv", "--cache-type-v"},    {"-hf", "--hf-repo"},       {"-to", "--timeout"},
    {"-md", "--spec-draft-model"},
};

constexpr const char* kGroup = "Of other servers";

bool is_harmless(const ForeignOption& option, const std::string& value) {
  return !value.empty() &&
         fmt::format(" {} ", option.harmless).find(fmt::format(" {} ", value)) != std::string::npos;
}

// A help without these options. They cannot be without a group for good: CLI11 gives such an option
// no name, in no error either.
class HelpFormatter final : public CLI::FormatterBase {
 public:
  HelpFormatter(std::shared_ptr<CLI::FormatterBase> inner, std::vector<CLI::Option*> hidden)
      : inner_(std::move(inner)), hidden_(std::move(hidden)) {}

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    for (CLI::Option* option : hidden_) option->group("");
    std::string help = inner_->make_help(app, std::move(name), mode);
    for (CLI::Option* option : hidden_) option->group(kGroup);
    return help;
  }

 private:
  const std::shared_ptr<CLI::FormatterBase> inner_;
  const std::vector<CLI::Option*> hidden_;
};

}  // namespace

void bind_foreign_options(CLI::App& command) {
  std::vector<CLI::Option*> hidden;
  for (const ForeignOption& foreign : kForeign) {
    CLI::Option* option =
        foreign.takes == kNothing
            ? command.add_flag_function(foreign.names, [](int64_t) {})
            : command.add_option_function<std::string>(foreign.names, [](const std::string&) {});
    const auto judge = [&foreign](const std::string& value) {
      if (is_harmless(foreign, value)) return std::string();
      return fmt::format("not supported: {}", foreign.reason);
    };
    option->check(judge, "")->group(kGroup);
    hidden.push_back(option);
  }
  command.formatter(std::make_shared<HelpFormatter>(command.get_formatter(), std::move(hidden)));
}

std::string long_name_of(const std::string& argument) {
  for (const ShortWord& known : kShortWords) {
    if (argument == known.word) return std::string(known.name);
  }
  return argument;
}

}  // namespace millrace
