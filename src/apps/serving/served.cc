#include "apps/serving/served.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <thread>
#include <utility>

#include <absl/time/clock.h>

#include "apps/input/chat_source.h"
#include "apps/input/generation_config.h"
#include "apps/input/model_text.h"
#include "apps/serving/cache_size.h"
#include "apps/terminal/amounts.h"
#include "base/log.h"
#include "base/system/memory_limit.h"
#include "base/system/signals_blocked.h"
#include "exec/cache_plan.h"
#include "files/checkpoint.h"
#include "models/spec.h"

namespace millrace {
namespace {

std::string text_of(const Tokenizer& tokenizer, std::optional<TokenId> token) {
  return token ? std::string(tokenizer.vocab().text(*token)) : std::string();
}

// A model can be served without a template, but not without the one that was asked for.
absl::StatusOr<std::optional<ChatTemplate>> read_template(const Metadata& metadata,
                                                          const Vocab& vocab,
                                                          const std::string& choice) {
  auto found = chosen_chat_template(metadata, vocab.add_bos(), choice);
  if (found.ok()) return std::optional<ChatTemplate>(*std::move(found));
  if (!choice.empty()) return found.status();
  if (!absl::IsNotFound(found.status())) {
    spdlog::warn("the model's chat template cannot be used, chat is off: {}",
                 message_of(found.status()));
  }
  return std::nullopt;
}

absl::StatusOr<int64_t> context_of(const EngineLimits& limits, const ModelSpec& spec) {
  if (limits.max_model_len == 0) return spec.context_max;
  if (limits.max_model_len > spec.context_max) {
    return invalid_argument("--max-model-len {} is beyond the model's context of {}",
                            limits.max_model_len, spec.context_max);
  }
  return limits.max_model_len;
}

struct CacheMemory {
  int64_t bytes = 0;
  std::string why;
};

// What was asked for, or a quarter of this process's memory, and not more than half of what its own
// limits leave: the rest of those is for the step and the threads.
absl::StatusOr<CacheMemory> cache_memory(const EngineLimits& limits) {
  const int64_t memory = usable_memory_bytes();
  if (const int64_t asked = limits.kv_cache_memory_bytes; asked > 0) {
    if (asked <= memory) return CacheMemory{asked, "--kv-cache-memory-bytes"};
    return resource_exhausted("--kv-cache-memory-bytes of {}: this process may use {} of memory",
                              bytes_text(asked), bytes_text(memory));
  }
  CacheMemory quarter = {
      memory / 4, fmt::format("a quarter of the {} that this process may use", bytes_text(memory))};
  const int64_t left = reservable_bytes().value_or(std::numeric_limits<int64_t>::max());
  if (left / 2 >= quarter.bytes) return quarter;
  return CacheMemory{left / 2, fmt::format("half of the {} that ulimit leaves", bytes_text(left))};
}

LocalOptions local_options(const ServedOptions& options, Isa isa) {
  LocalOptions local;
  local.isa = isa;
  local.kv_dtype = options.compute.kv_dtype();
  local.block_tokens = static_cast<int32_t>(options.limits.block_size);
  local.rows_max = static_cast<int32_t>(options.limits.max_num_batched_tokens);
  local.sequences_max = static_cast<int32_t>(options.limits.max_num_seqs);
  return local;
}

// The caches of a model and of the one that drafts for it; this one is empty where there is none.
absl::StatusOr<CacheSizes> divide_memory(const EngineLimits& limits,
                                         std::span<const KvGroup> groups,
                                         std::span<const KvGroup> draft_groups, int64_t context_max,
                                         std::string& why) {
  ASSIGN_OR_RETURN(CacheMemory memory, cache_memory(limits));
  const bool asked = limits.kv_cache_memory_bytes > 0;
  const CacheOrder order = {.sequences = limits.max_num_seqs,
                            .context = context_max,
                            .rows = limits.max_num_batched_tokens,
                            .prefix_caching = limits.prefix_caching,
                            .bytes = memory.bytes,
                            .all_of_it = asked};
  CacheSizes sizes;
  if (draft_groups.empty()) {
    ASSIGN_OR_RETURN(sizes.first, divide_cache(groups, order, memory.why));
  } else {
    ASSIGN_OR_RETURN(sizes, divide_caches(groups, draft_groups, order, memory.why));
  }
  if (asked || sizes.first.limited) {
    why = std::move(memory.why);
  } else {
    why = limits.max_num_seqs > 1 ? "every sequence at its longest" : "one sequence at its longest";
  }
  return sizes;
}

// The file's stem, or the folder's name.
std::string model_name(const std::string& model) {
  auto path = std::filesystem::path(model).lexically_normal();
  if (!std::filesystem::is_directory(path)) return path.stem().string();
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

EngineOptions engine_options(const ServedOptions& options, const ModelSpec& spec,
                             int64_t context_max) {
  EngineOptions engine;
  engine.card.id = options.name.empty() ? model_name(options.compute.model) : options.name;
  engine.card.context_max = context_max;
  engine.card.vocab_size = spec.vocab_size;
  engine.card.created = absl::Now();
  engine.sequences_max = static_cast<int32_t>(options.limits.max_num_seqs);
  engine.rows_max = static_cast<int32_t>(options.limits.max_num_batched_tokens);
  engine.long_prefill_rows = options.limits.long_prefill_token_threshold;
  engine.waiting_max = options.max_queue;
  engine.waiting_age_max = options.max_queue_age;
  engine.prefix_caching = options.limits.prefix_caching;
  engine.state_snapshot_tokens = options.limits.state_snapshot_tokens;
  if (!options.speculation.methods.empty()) engine.drafting = options.speculation.drafting;
  return engine;
}

// Of the model, and of the one that drafts for it, where there is one.
absl::Status build_executors(const ServedOptions& options,
                             const std::optional<DraftSource>& draft_source, int64_t context_max,
                             Served& served) {
  const Loaded& loaded = served.loaded;
  LocalOptions local = local_options(options, loaded.isa);
  const CachePlan plan = plan_cache(loaded.model->spec(), local.kv_dtype, local.block_tokens);
  std::span<const KvGroup> draft_groups;
  if (draft_source) draft_groups = draft_source->groups();
  ASSIGN_OR_RETURN(const CacheSizes caches, divide_memory(options.limits, plan.groups, draft_groups,
                                                          context_max, served.kv_why));
  local.units = caches.first.units;
  served.kv_bytes = caches.first.bytes;
  ASSIGN_OR_RETURN(served.executor, LocalExecutor::create(*loaded.model, *loaded.lanes, local));
  if (!draft_source) return absl::OkStatus();
  const bool has_states = std::ranges::count(plan.groups, KvKind::kState, &KvGroup::kind) > 0;
  if (has_states && options.speculation.draft_model.tree_width > 1) {
    return invalid_argument(
        "tree_width in --speculative-config: the model keeps states, so its drafts are chains");
  }
  local.units = caches.second.units;
  ASSIGN_OR_RETURN(served.draft, draft_source->load(*loaded.lanes, local));
  served.draft->is_limited = caches.second.limited;
  return absl::OkStatus();
}

Proposers proposers_of(const ServedOptions& options, const Served& served) {
  std::unique_ptr<Proposer> draft_model;
  if (served.draft != nullptr) {
    draft_model = make_proposer(options.speculation.draft_model, *served.draft,
                                served.loaded.model->spec().vocab_size,
                                options.limits.prefix_caching, served.clock);
  }
  return make_proposers(options.speculation, std::move(draft_model));
}

// What a second model that drafts must be is known before the served one is loaded.
absl::StatusOr<std::optional<DraftSource>> open_draft_source(const ServedOptions& options) {
  if (!drafts_by_model(options.speculation)) return std::nullopt;
  ASSIGN_OR_RETURN(
      DraftSource source,
      DraftSource::open(options.speculation.draft_model, options.compute, options.vocabulary,
                        static_cast<int32_t>(options.limits.block_size)));
  return std::optional<DraftSource>(std::move(source));
}

std::thread with_signals_blocked(std::function<void()> work) {
  const SignalsBlocked blocked;
  return std::thread(std::move(work));
}

}  // namespace

std::string Served::bos_text() const { return text_of(*tokenizer, tokenizer->vocab().bos()); }
std::string Served::eos_text() const { return text_of(*tokenizer, tokenizer->vocab().eos()); }

absl::StatusOr<std::unique_ptr<Served>> build_served(const ServedOptions& options) {
  auto served = std::make_unique<Served>();
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(options.compute.model));
  ASSIGN_OR_RETURN(const ModelSpec read, read_spec(checkpoint));  // before the vocabulary
  ASSIGN_OR_RETURN(
      served->defaults,
      read_answer_defaults(options.compute.model, options.generation_config, read.vocab_size));
  ASSIGN_OR_RETURN(const std::optional<DraftSource> draft_source, open_draft_source(options));
  const auto read_text = [&] {
    return open_model_text(options.compute.model, checkpoint, options.vocabulary, read.vocab_size);
  };
  // A pack is found, and read, while the vocabulary is; packing takes long, so what is wrong with
  // the vocabulary should show before it.
  const bool has_packs = !options.compute.pack_cache.empty();
  ModelText text;
  if (has_packs) {
    absl::StatusOr<ModelText> read_beside;
    std::thread reader = with_signals_blocked([&] { read_beside = read_text(); });
    absl::StatusOr<Loaded> loaded = load_for(checkpoint, options.compute);
    reader.join();
    ASSIGN_OR_RETURN(served->loaded, std::move(loaded));
    ASSIGN_OR_RETURN(text, std::move(read_beside));
    served->loaded.model->begin_reading();  // not before: it would take the vocabulary's CPU
  } else {
    ASSIGN_OR_RETURN(text, read_text());
  }
  served->tokenizer = std::move(text.tokenizer);
  ASSIGN_OR_RETURN(served->chat_template,
                   read_template(text.chat_metadata(checkpoint), served->tokenizer->vocab(),
                                 options.chat_template));
  if (draft_source) {
    RETURN_IF_ERROR(draft_source->check_vocabulary(served->tokenizer->vocab()));
  }
  if (!has_packs) {
    ASSIGN_OR_RETURN(served->loaded, load_for(checkpoint, options.compute));
  }

  const ModelSpec& spec = served->loaded.model->spec();
  ASSIGN_OR_RETURN(const int64_t context_max, context_of(options.limits, spec));
  RETURN_IF_ERROR(build_executors(options, draft_source, context_max, *served));
  ASSIGN_OR_RETURN(served->engine,
                   Engine::create(engine_options(options, spec, context_max), *served->executor,
                                  *served->tokenizer, served->clock, options.observers,
                                  proposers_of(options, *served)));
  served->context_why =
      options.limits.max_model_len > 0 ? "--max-model-len" : "what the model was made for";
  if (const int64_t held = served->generator().card().context_max; held < context_max) {
    spdlog::warn("the cache holds {} tokens, so the context is no longer: {} is {}", held,
                 served->context_why, context_max);
    served->context_why = "what the cache holds";
  }
  served->engine->start();
  return served;
}

}  // namespace millrace
