#include "apps/serving/start_table.h"

#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/terminal/amounts.h"
#include "apps/terminal/one_line.h"
#include "tensor/huge_pages.h"

namespace millrace {
namespace {

std::string line(std::string_view name, std::string_view value, std::string_view why) {
  return fmt::format("{:<14}{:<33} {}\n", name, one_line(value), why);
}

std::string huge_pages_line(const Model& model) {
  const PageUse use = page_use(model.matrix_memory());
  // The end of the memory may be less than a huge page.
  const bool are_whole = use.huge >= use.resident / kHugePageBytes * kHugePageBytes;
  std::string why = are_whole ? "asked for and granted" : why_no_huge_pages();
  if (model.moves_to_huge_pages()) why = "the system gives them slowly: more as it has them";
  if (const StreamedWeights* const streamed = model.streamed()) {
    const int64_t bytes = streamed->plan().segment_bytes;
    if (bytes < kHugePageBytes) why = fmt::format("none for pieces of {}", bytes_text(bytes));
  } else if (use.resident + kHugePageBytes < std::ssize(model.matrix_memory())) {
    why += "; the rest is still being read";
  }
  return line("huge pages",
              fmt::format("{} of {} of weights", bytes_text(use.huge), bytes_text(use.resident)),
              why + "; the cache's as it is used");
}

std::string weights_line(const Model& model) {
  if (const StreamedWeights* const streamed = model.streamed()) {
    const StreamPlan& plan = streamed->plan();
    return line("weights",
                fmt::format("{} stay, {} read in each step", bytes_text(plan.resident_bytes()),
                            bytes_text(plan.pass_bytes())),
                fmt::format("--weight-memory; from --pack-cache, {}",
                            streamed->is_direct()
                                ? "past the page cache"
                                : "through the page cache, which this file system cannot pass"));
  }
  return line("weights", bytes_text(model.weight_bytes()),
              model.is_from_pack() ? "from --pack-cache"
                                   : "as the file stores them, arranged for the kernels");
}

// What a group of the cache holds, and what its parts cost.
std::string group_line(const KvGroup& group, int64_t rows, int64_t context) {
  const std::string of_sequence =
      bytes_text(blocks_per_sequence(group, rows, context) * group.unit_bytes);
  if (group.kind == KvKind::kState) {
    return line("states", grouped(group.units), of_sequence + " a sequence, of whatever length");
  }
  const std::string reach =
      group.window > 0 ? fmt::format(", of a window of {}", grouped(group.window)) : "";
  return line(group.window > 0 ? "window" : "all tokens",
              fmt::format("{} tokens in {} blocks", grouped(group.units * group.block_tokens),
                          grouped(group.units)),
              fmt::format("{} a token, {} a block, {} a sequence of {}{}",
                          bytes_text(group.unit_bytes / group.block_tokens),
                          bytes_text(group.unit_bytes), of_sequence, grouped(context), reach));
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
  const Model& model = *served.loaded.model;
  table += weights_line(model);
  table += huge_pages_line(model);
  table +=
      line("cache", fmt::format("{} in {}", bytes_text(served.kv_bytes), compute.kv_cache_dtype),
           served.kv_why);
  for (const KvGroup& group : served.executor->capacity().groups) {
    table += group_line(group, limits.max_num_batched_tokens, card.context_max);
  }
  table += line("context", grouped(card.context_max) + " tokens", served.context_why);
  table += line("sequences",
                fmt::format("{} at once, {} may wait", grouped(limits.max_num_seqs),
                            grouped(options.max_queue)),
                "--max-num-seqs, --max-queue");
  table += line("step", grouped(limits.max_num_batched_tokens) + " tokens",
                "--max-num-batched-tokens; longer prompts take several");
  if (const SpeculationConfig& drafts = options.speculation; !drafts.methods.empty()) {
    table += line(
        "drafts",
        fmt::format("{} {}, up to {} tokens", drafts.drafting.automatic ? "whatever pays of" : "by",
                    fmt::join(drafts.methods, ", "), drafts.drafting.nodes_max),
        "--speculative-config; what is drafted changes no answer");
  }
  if (served.draft != nullptr) {
    const DraftModel& draft = *served.draft;
    table += line("draft model",
                  fmt::format("{}, {}", draft.name, bytes_text(draft.model->weight_bytes())),
                  fmt::format("and {} of cache for {}; both caches together are within the limit",
                              bytes_text(draft.kv_bytes),
                              draft.is_limited ? "about as many tokens as the model's holds"
                                               : "every sequence at its longest"));
  }
  table += line("step's memory", bytes_text(served.executor->working_bytes()),
                "touched as far as steps need it");
  return table;
}

}  // namespace millrace
