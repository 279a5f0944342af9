#include "apps/commands/inspect.h"

#include <CLI/CLI.hpp>

#include "apps/input/chat_source.h"
#include "apps/inspection/inspection.h"
#include "apps/inspection/inspection_text.h"
#include "apps/options/options.h"
#include "files/checkpoint.h"

namespace millrace {

void bind(CLI::App& command, InspectOptions& options) {
  command.add_option("model", options.model, "the model: a GGUF file, or a Hugging Face folder")
      ->required()
      ->type_name("MODEL");
  const std::string group = "Memory is reckoned for (sizes may be given as 4k or 2M)";
  command
      .add_option("--max-model-len", options.max_model_len,
                  "longest prompt and answer together; 0: the model's own")
      ->transform(as_size())
      ->type_name("N")
      ->group(group);
  command.add_option("--max-num-seqs", options.max_num_seqs, "sequences at once")
      ->transform(as_size())
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N")
      ->group(group);
  bind_kv_cache_dtype(command, options.kv_cache_dtype, group);
  bind_chat_template(command, options.chat_template);
  bind(command, options.vocabulary);
  command.add_flag("--json", options.json, "one JSON object instead of text");
}

absl::Status run_inspect(const InspectOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.model));
  ComputeOptions compute;
  compute.kv_cache_dtype = options.kv_cache_dtype;
  const InspectedLoad load = {.context = options.max_model_len,
                              .sequences = options.max_num_seqs,
                              .cache = compute.kv_dtype(),
                              .pre = options.vocabulary.pre,
                              .chat_template = options.chat_template,
                              .model = options.model};
  ASSIGN_OR_RETURN(const Inspection inspection, inspect(checkpoint, load));
  const std::string report = options.json ? inspection_json(checkpoint, load, inspection)
                                          : inspection_text(checkpoint, load, inspection);
  if (std::fwrite(report.data(), 1, report.size(), out) != report.size()) {
    return internal_error("the report could not be written");
  }
  return absl::OkStatus();
}

}  // namespace millrace
