#include "apps/serving/start_table.h"

#include <fmt/format.h>

#include "apps/terminal/amounts.h"
#include "apps/terminal/one_line.h"

namespace millrace {
namespace {

std::string line(std::string_view name, std::string_view value, std::string_view why) {
  return fmt::format("{:<14}{:<33} {}\n", name, one_line(value), why);
}

}  // namespace

std::string start_table(const ServedOptions& options, const Served& served) {
  const ModelCard& card = served.generator().card();
  const EngineLimits& limits = options.limits;
  const ComputeOptions& compute = options.compute;
  std::string table;
  table += line("model", card.id, options.name.empty() ? "the file's name" : "--served-model-name");
  table += line("instructions", name_of(served.loaded.isa),
                compute.isa.empty() ? "the best of this CPU" : "--isa");
  table += line("threads", fmt::to_string(served.loaded.lanes->lanes()),
                compute.threads == 0 ? "the CPUs this process may use" : "--threads");
  table += line("weights", bytes_text(served.loaded.model->weight_bytes()),
                "as the file stores them, arranged for these instructions");
  table += line("cache",
                fmt::format("{}, {} tokens in {}", bytes_text(served.kv_bytes),
                            grouped(served.kv_tokens), compute.kv_cache_dtype),
                served.kv_why);
  table += line("context", grouped(card.context_max) + " tokens", served.context_why);
  table += line("sequences",
                fmt::format("{} at once, {} may wait", grouped(limits.max_num_seqs),
                            grouped(options.max_queue)),
                "--max-num-seqs, --max-queue");
  table += line("step", grouped(limits.max_num_batched_tokens) + " tokens",
                "--max-num-batched-tokens; longer prompts take several");
  table += line("step's memory", bytes_text(served.executor->working_bytes()),
                "touched as far as steps need it");
  return table;
}

}  // namespace millrace
