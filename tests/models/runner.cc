#include "tests/models/runner.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "exec/cache_plan.h"
#include "files/checkpoint.h"
#include "tests/fixtures/exec/logits_of.h"

namespace millrace {
namespace {

Checkpoint open_or_die(const std::string& path) {
  auto checkpoint = Checkpoint::open(path);
  CHECK(checkpoint.ok(), "{}", message_of(checkpoint.status()));
  return std::move(*checkpoint);
}

}  // namespace

Runner::Runner(const std::string& path, ActivationMode activations, int threads)
    : Runner(open_or_die(path), {.activations = activations, .pack_cache = {}, .progress = {}},
             threads) {}

Runner::Runner(const Checkpoint& checkpoint, const LoadOptions& options, int threads)
    : lanes_(threads) {
  auto model = load_model(checkpoint, options, lanes_);
  CHECK(model.ok(), "{}", message_of(model.status()));
  model_ = std::move(*model);
}

std::vector<float> Runner::logits(const std::vector<TokenId>& tokens, int32_t from,
                                  const RunShape& shape,
                                  const std::function<int32_t()>& next_rows) {
  const auto size = static_cast<int32_t>(tokens.size());
  LocalOptions options;
  options.isa = shape.isa;
  options.kv_dtype = shape.kv_dtype;
  options.block_tokens = shape.block_tokens;
  options.rows_max = shape.rows_max;
  options.sequences_max = 1;
  options.units = FixedSequences::units(
      plan_cache(model_->spec(), shape.kv_dtype, shape.block_tokens).groups, 1, size);
  auto executor = LocalExecutor::create(*model_, lanes_, options);
  CHECK(executor.ok(), "{}", message_of(executor.status()));
  FixedSequences sequences((*executor)->capacity(), size);
  std::vector<float> all;
  for (int32_t at = 0; at < size;) {
    const bool wanted = at >= from;
    const int32_t left = (wanted ? size : from) - at;
    const int32_t rows = std::min({next_rows(), shape.rows_max, left});
    sequences.clear();
    sequences.add(0, at,
                  std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
                  wanted ? SliceWants::kAll : SliceWants::kNone);
    const std::vector<float> out = logits_of(**executor, sequences.batch());
    all.insert(all.end(), out.begin(), out.end());
    at += rows;
  }
  return all;
}

std::vector<double> log_softmax(std::span<const float> row) {
  const double max = *std::ranges::max_element(row);
  double sum = 0;
  for (const float logit : row) sum += std::exp(logit - max);
  std::vector<double> out;
  out.reserve(row.size());
  for (const float logit : row) out.push_back(logit - max - std::log(sum));
  return out;
}

}  // namespace millrace
