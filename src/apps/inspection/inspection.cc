#include "apps/inspection/inspection.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>

#include "apps/input/chat_source.h"
#include "apps/input/model_text.h"
#include "apps/options/options.h"
#include "apps/terminal/one_line.h"
#include "base/checked.h"
#include "exec/cache_plan.h"
#include "exec/local.h"
#include "files/gguf_types.h"
#include "models/spec.h"
#include "quant/packed_matrix.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

std::vector<TypeTotal> totals_of(const Checkpoint& checkpoint) {
  std::map<std::string, TypeTotal> by_type;
  const auto count = [&by_type](std::string type, int64_t bytes) {
    TypeTotal& total = by_type[type];
    total.type = std::move(type);
    ++total.tensors;
    total.bytes += bytes;
  };
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    count(std::string(info_of(tensor.layout.dtype).name), tensor.layout.bytes());
  }
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) {
    count(gguf_type_name(tensor.gguf_type), 0);
  }
  std::vector<TypeTotal> totals;
  for (auto& [type, total] : by_type) totals.push_back(std::move(total));
  std::ranges::stable_sort(totals, std::greater(), &TypeTotal::bytes);
  return totals;
}

// Matrices are packed in their own format, vectors become float32.
int64_t weight_bytes_of(const Checkpoint& checkpoint) {
  int64_t bytes = 0;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    const TensorLayout& layout = tensor.layout;
    bytes += layout.rank >= 2 ? PackedMatrix::bytes(layout.dtype, layout.rows(), layout.width())
                              : row_bytes(DType::kF32, layout.elements());
  }
  return bytes;
}

absl::StatusOr<CacheNeed> cache_need(const ModelSpec& spec, const InspectedLoad& load) {
  constexpr EngineLimits kLimits;
  CacheNeed need;
  need.context = load.context > 0 ? load.context : spec.context_max;
  for (KvGroup group :
       plan_cache(spec, load.cache, static_cast<int32_t>(kLimits.block_size)).groups) {
    const int64_t of_one = blocks_per_sequence(group, kLimits.max_num_batched_tokens, need.context);
    const std::optional<int64_t> units = checked_multiply(of_one, load.sequences);
    const std::optional<int64_t> bytes =
        units ? checked_multiply(*units, group.unit_bytes) : std::nullopt;
    const std::optional<int64_t> all = bytes ? checked_add(need.bytes, *bytes) : std::nullopt;
    if (!all) {
      return out_of_range("{} sequences of {} tokens are beyond all memory", load.sequences,
                          need.context);
    }
    group.units = *units;
    need.groups.push_back({.group = group, .sequence_bytes = of_one * group.unit_bytes});
    need.bytes = *all;
  }
  for_each_body(spec.layers, [&](const BodySpec& body) {
    const auto* latent = std::get_if<LatentSpec>(&body);
    if (latent == nullptr) return;
    need.latent_token_bytes += latent->kv(load.cache).token_bytes;
    need.heads_token_bytes += latent->heads_token_bytes(load.cache);
  });
  return need;
}

void note_tensors(const Checkpoint& checkpoint, Inspection& inspection) {
  std::map<uint32_t, int64_t> unknown;
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) ++unknown[tensor.gguf_type];
  for (const auto& [type, count] : unknown) {
    inspection.obstacles.push_back(fmt::format(
        "element type {} is not supported; tensors that have it: {}", gguf_type_name(type), count));
  }
}

// Pre: the cache is known.
absl::StatusOr<DraftSupport> draft_support(const Checkpoint& checkpoint, const ModelText& text,
                                           const CacheNeed& cache) {
  DraftSupport drafts = {
      .trees = std::ranges::none_of(
          cache.groups, [](const GroupNeed& need) { return need.group.kind == KvKind::kState; }),
      .vocabulary_kind = "tokenizer.json",
      .vocabulary_tokens = text.tokenizer->vocab().size()};
  if (!text.is_folders) {
    ASSIGN_OR_RETURN(drafts.vocabulary_kind, checkpoint.metadata().string("tokenizer.ggml.model"));
  }
  return drafts;
}

absl::Status note_text(const Checkpoint& checkpoint, const InspectedLoad& load,
                       Inspection& inspection) {
  const NamedTensor* embedding = checkpoint.find("token_embd.weight");
  const auto vocab_size = static_cast<int32_t>(std::min<int64_t>(
      embedding == nullptr ? 0 : embedding->layout.rows(), std::numeric_limits<int32_t>::max()));
  const auto text = open_model_text(load.model, checkpoint, {.pre = load.pre}, vocab_size);
  if (!text.ok() && std::filesystem::is_directory(load.model) && absl::IsNotFound(text.status())) {
    inspection.remarks.push_back(one_line(message_of(text.status())));
    return absl::OkStatus();
  }
  if (!text.ok()) inspection.obstacles.push_back(one_line(message_of(text.status())));
  if (inspection.obstacles.empty()) {
    ASSIGN_OR_RETURN(inspection.drafts, draft_support(checkpoint, *text, *inspection.cache));
  }
  const Metadata& metadata = text.ok() ? text->chat_metadata(checkpoint) : checkpoint.metadata();
  constexpr bool kBeginsWithBos = false;  // changes nothing that is shown
  const auto chat = chosen_chat_template(metadata, kBeginsWithBos, load.chat_template);
  if (chat.ok()) {
    inspection.chat = chat->capabilities();
  } else if (!load.chat_template.empty()) {
    return chat.status();
  } else if (absl::IsNotFound(chat.status())) {
    inspection.remarks.push_back(
        "no chat template: completions only, unless --chat-template "
        "chooses one");
  } else {
    inspection.remarks.push_back("the chat template is not understood, so completions only: " +
                                 one_line(message_of(chat.status())));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t CacheNeed::token_bytes() const {
  int64_t sum = 0;
  for (const auto& [group, of_sequence] : groups) {
    if (group.kind == KvKind::kTokens) sum += group.unit_bytes / group.block_tokens;
  }
  return sum;
}

absl::StatusOr<Inspection> inspect(const Checkpoint& checkpoint, const InspectedLoad& load) {
  Inspection inspection;
  inspection.totals = totals_of(checkpoint);
  inspection.weight_bytes = weight_bytes_of(checkpoint);
  const absl::StatusOr<ModelSpec> spec = read_spec(checkpoint);
  if (spec.ok()) {
    ASSIGN_OR_RETURN(inspection.cache, cache_need(*spec, load));
  } else {
    inspection.obstacles.push_back(one_line(message_of(spec.status())));
  }
  note_tensors(checkpoint, inspection);
  RETURN_IF_ERROR(note_text(checkpoint, load, inspection));
  return inspection;
}

}  // namespace millrace
