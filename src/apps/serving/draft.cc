#include "apps/serving/draft.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "apps/input/loaded.h"
#include "apps/input/model_text.h"
#include "base/log.h"
#include "models/spec.h"

namespace millrace {
namespace {

absl::Status of_draft_model(const std::string& path, const absl::Status& status) {
  if (status.ok()) return status;
  return make_error(status.code(),
                    "the draft model '{}' (model in --speculative-config, or -md): {}", path,
                    message_of(status));
}

bool is_unused(const Vocab& vocab, TokenId id) {
  return !vocab.contains(id) || vocab.kind(id) == TokenKind::kUnused;
}

std::string quoted(const Vocab& vocab, TokenId id) {
  return is_unused(vocab, id) ? "unused" : fmt::format("'{}'", escape_for_log(vocab.text(id)));
}

}  // namespace

absl::StatusOr<DraftSource> DraftSource::open(const DraftModelConfig& config,
                                              const ComputeOptions& compute,
                                              const VocabularyOptions& vocabulary,
                                              int32_t block_tokens) {
  const auto read = [&]() -> absl::StatusOr<DraftSource> {
    ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(config.path));
    ASSIGN_OR_RETURN(ModelSpec spec, read_spec(checkpoint));
    DraftSource source(std::move(checkpoint), std::move(spec));
    source.compute_ = compute;
    source.compute_.model = config.path;
    source.compute_.weight_memory = 0;
    source.head_rows_ = config.head_rows;
    RETURN_IF_ERROR(source.check_all(vocabulary, block_tokens));
    return source;
  };
  absl::StatusOr<DraftSource> source = read();
  if (!source.ok()) return of_draft_model(config.path, source.status());
  return source;
}

absl::Status DraftSource::check_all(const VocabularyOptions& vocabulary, int32_t block_tokens) {
  if (head_rows_ > spec_.vocab_size) {
    return invalid_argument("draft_vocab is {}, but it has {} tokens", head_rows_,
                            spec_.vocab_size);
  }
  plan_ = plan_cache(spec_, compute_.kv_dtype(), block_tokens);
  // Their units are not known yet.
  for (KvGroup& group : plan_.groups) group.units = 1;
  RETURN_IF_ERROR(DraftModelProposer::supports(plan_.groups));
  ASSIGN_OR_RETURN(ModelText text,
                   open_model_text(compute_.model, checkpoint_, vocabulary, spec_.vocab_size));
  tokenizer_ = std::move(text.tokenizer);
  return absl::OkStatus();
}

absl::Status DraftSource::check_vocabulary(const Vocab& served) const {
  const Vocab& own = tokenizer_->vocab();
  for (TokenId id = 0; id < std::max(own.size(), served.size()); ++id) {
    if (is_unused(own, id) && is_unused(served, id)) continue;
    const bool are_used = !is_unused(own, id) && !is_unused(served, id);
    if (are_used && own.text(id) == served.text(id)) continue;
    return of_draft_model(
        compute_.model,
        invalid_argument("it has another vocabulary: token {} is {}, but {} in the served model",
                         id, quoted(own, id), quoted(served, id)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DraftModel>> DraftSource::load(LanePool& lanes,
                                                              const LocalOptions& options) const {
  auto draft = std::make_unique<DraftModel>();
  const auto build = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(draft->model, load_on(lanes, options.isa, checkpoint_, compute_, head_rows_));
    draft->model->begin_reading();
    ASSIGN_OR_RETURN(draft->executor, LocalExecutor::create(*draft->model, lanes, options));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(of_draft_model(compute_.model, build()));
  auto path = std::filesystem::path(compute_.model).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  draft->name = path.filename().string();
  for (size_t i = 0; i < plan_.groups.size(); ++i) {
    draft->kv_bytes += options.units[i] * plan_.groups[i].unit_bytes;
  }
  return draft;
}

std::unique_ptr<Proposer> make_proposer(const DraftModelConfig& config, const DraftModel& model,
                                        int32_t tokens_known, bool prefix_caching,
                                        const Clock& clock) {
  const ModelSpec& spec = model.model->spec();
  const DraftModelOptions options = {.tree_width = config.tree_width,
                                     .chance_min = config.chance_min,
                                     .vocab_size = spec.vocab_size,
                                     .tokens_known = tokens_known,
                                     .context_max = spec.context_max,
                                     .depth_min = config.depth_min,
                                     .prefix_caching = prefix_caching};
  return std::make_unique<DraftModelProposer>(options, *model.executor, clock);
}

}  // namespace millrace
