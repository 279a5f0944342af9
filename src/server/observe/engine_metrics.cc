#include "server/observe/engine_metrics.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <span>
#include <utility>

#include <absl/time/clock.h>

namespace millrace {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Names, types, labels and buckets are vLLM's, so that its dashboards, routers and benchmarks read
// ours. What we have nothing of (sleep, multimodal caches) is absent.

struct Moment {
  GeneratorStats stats;
  const ModelCard& card;
};

double usage_of(const Moment& moment) { return moment.stats.cache_use(); }

// Read from the generator at a scrape. Neighbours of one name are one family.
struct ReadSeries {
  const char* name;
  MetricType type;
  const char* help;
  double (*read)(const Moment&);
  const char* label = nullptr;
  const char* label_value = nullptr;
};

template <int64_t GeneratorStats::*member>
double count_of(const Moment& moment) {
  return static_cast<double>(moment.stats.*member);
}
constexpr auto kRunning = count_of<&GeneratorStats::running>;
constexpr auto kWaiting = count_of<&GeneratorStats::waiting>;
constexpr auto kPreemptions = count_of<&GeneratorStats::preemptions>;
constexpr auto kPromptTokens = count_of<&GeneratorStats::prompt_tokens>;
constexpr auto kCachedTokens = count_of<&GeneratorStats::cached_tokens>;
constexpr auto kGeneratedTokens = count_of<&GeneratorStats::generated_tokens>;
double cost_error_of(const Moment& moment) { return moment.stats.cost_error; }

double computed_tokens(const Moment& moment) {
  return kPromptTokens(moment) - kCachedTokens(moment);
}
double queried_tokens(const Moment& moment) {
  return moment.card.prefix_caching ? kPromptTokens(moment) : 0;
}

const ReadSeries kReadSeries[] = {
    {"vllm:num_requests_running", MetricType::Gauge, "Sequences in the engine's batch.", kRunning},
    {"vllm:num_requests_waiting", MetricType::Gauge, "Sequences that wait to be scheduled.",
     kWaiting},
    {"vllm:num_requests_waiting_by_reason", MetricType::Gauge,
     "Sequences that wait to be scheduled, by what they wait for.", kWaiting, "reason", "capacity"},
    {"vllm:kv_cache_usage_perc", MetricType::Gauge,
     "Share of the KV cache's bytes that sequences refer to; 1 is all of them.", usage_of},
    {"vllm:gpu_cache_usage_perc", MetricType::Gauge,
     "vllm:kv_cache_usage_perc under the name that the Gateway API's protocol gives it.", usage_of},
    {"vllm:prefix_cache_queries_total", MetricType::Counter,
     "Prompt tokens looked for in the prefix cache, each once for a request.", queried_tokens},
    {"vllm:prefix_cache_hits_total", MetricType::Counter,
     "Prompt tokens found in the prefix cache.", kCachedTokens},
    {"vllm:num_preemptions_total", MetricType::Counter,
     "Times that a sequence gave its memory to another and had to be computed again.",
     kPreemptions},
    {"vllm:prompt_tokens_total", MetricType::Counter, "Prompt tokens of requests that were begun.",
     kPromptTokens},
    {"vllm:prompt_tokens_by_source_total", MetricType::Counter,
     "Prompt tokens of requests that were begun, by where their keys and values came from.",
     computed_tokens, "source", "local_compute"},
    {"vllm:prompt_tokens_by_source_total", MetricType::Counter, "", kCachedTokens, "source",
     "local_cache_hit"},
    {"vllm:prompt_tokens_cached_total", MetricType::Counter,
     "Prompt tokens of requests that were begun whose keys and values were cached.", kCachedTokens},
    {"vllm:generation_tokens_total", MetricType::Counter, "Tokens generated.", kGeneratedTokens},
    {"millrace:step_cost_error", MetricType::Gauge,
     "How far the expected time of a step, by which drafts are chosen, was off lately, as a share "
     "of it.",
     cost_error_of},
};

// Of each group of the cache.
struct GroupSeries {
  const char* name;
  MetricType type;
  const char* help;
  int64_t (*read)(const GroupUse&);
};
const GroupSeries kGroupSeries[] = {
    {"millrace:cache_units", MetricType::Gauge,
     "Blocks of tokens or states that a group of layers has.",
     [](const GroupUse& use) { return use.group.units; }},
    {"millrace:cache_unit_bytes", MetricType::Gauge, "Memory of one of a group's units.",
     [](const GroupUse& use) { return use.group.unit_bytes; }},
    {"millrace:cache_units_held", MetricType::Gauge, "Units that sequences hold.",
     [](const GroupUse& use) { return use.held; }},
    {"millrace:cache_units_idle", MetricType::Gauge,
     "Units that only the prefix cache keeps, of states the snapshots; sequences get them when no "
     "other is free.",
     [](const GroupUse& use) { return use.idle; }},
    {"millrace:cache_evictions_total", MetricType::Counter,
     "Units that the prefix cache kept and sequences got.",
     [](const GroupUse& use) { return use.evictions; }},
};

MetricLabels group_labels(MetricLabels labels, size_t number, const KvGroup& group) {
  labels.push_back({"group", std::to_string(number)});
  labels.push_back({"keeps", group.kind == KvKind::kState ? "state"
                             : group.is_whole()           ? "tokens"
                                                          : "window"});
  labels.push_back({"window", std::to_string(group.window)});
  return labels;
}

MetricLabels with(MetricLabels labels, const char* name, std::string value) {
  labels.push_back({name, std::move(value)});
  return labels;
}

double accepted_of(const DraftUse& use) {
  return std::accumulate(use.accepted_at.begin(), use.accepted_at.end(), 0.0);
}

// Of each way to make drafts.
struct DraftSeries {
  const char* name;
  const char* help;
  double (*read)(const DraftUse&);
};
const DraftSeries kDraftSeries[] = {
    {"vllm:spec_decode_num_drafts_total",
     "Drafts that were verified, of a sequence and a step each.",
     [](const DraftUse& use) { return static_cast<double>(use.drafts); }},
    {"vllm:spec_decode_num_draft_tokens_total", "Tokens in drafts that were verified.",
     [](const DraftUse& use) { return static_cast<double>(use.tokens); }},
    {"vllm:spec_decode_num_accepted_tokens_total", "Tokens of drafts that were accepted.",
     accepted_of},
    {"millrace:draft_seconds_total", "Time that proposing drafts took, beside the steps.",
     [](const DraftUse& use) { return absl::ToDoubleSeconds(use.took); }},
};

void collect_drafts(const std::vector<DraftUse>& drafts, const MetricLabels& labels,
                    std::vector<MetricFamily>& families) {
  if (drafts.empty()) return;
  for (const DraftSeries& series : kDraftSeries) {
    MetricFamily& family =
        families.emplace_back(MetricFamily{series.name, series.help, MetricType::Counter, {}});
    for (const DraftUse& use : drafts) {
      family.metric.push_back(metric_of(series.read(use), with(labels, "method", use.method)));
    }
  }
  MetricFamily& places = families.emplace_back(
      MetricFamily{"vllm:spec_decode_num_accepted_tokens_per_pos_total",
                   "Tokens of drafts that were accepted, by how far ahead: 0 is the first.",
                   MetricType::Counter,
                   {}});
  for (const DraftUse& use : drafts) {
    for (size_t at = 0; at < use.accepted_at.size(); ++at) {
      places.metric.push_back(
          metric_of(static_cast<double>(use.accepted_at[at]),
                    with(with(labels, "method", use.method), "position", std::to_string(at))));
    }
  }
}

// Of the groups that keep all tokens, the fewest; of all groups where none does.
int64_t blocks_of(const GeneratorStats& stats) {
  const bool has_whole =
      std::ranges::any_of(stats.cache, [](const GroupUse& use) { return use.group.is_whole(); });
  int64_t blocks = 0;
  for (const GroupUse& use : stats.cache) {
    if (has_whole && !use.group.is_whole()) continue;
    blocks = blocks == 0 ? use.group.units : std::min(blocks, use.group.units);
  }
  return blocks;
}

constexpr double kFirstTokenBuckets[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                         1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr double kTokenBuckets[] = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                    .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
constexpr double kRequestBuckets[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                      30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
constexpr double kCountBuckets[] = {1, 2, 5, 10, 20};
constexpr double kPreemptionBuckets[] = {1, 2, 3, 4, 5, 10, 20};
constexpr double kStepBuckets[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

enum class HistogramId : uint8_t {
  kFirstToken,
  kTokenGap,
  kTimePerToken,
  kWhole,
  kQueue,
  kInference,
  kPrefill,
  kDecode,
  kRequestPrompt,
  kRequestGenerated,
  kRequestLongest,
  kChoices,
  kTokensMax,
  kComputedTokens,
  kStepTokens,
  kRequestPreemptions,
};
struct HistogramSeries {
  const char* name;
  const char* help;
  std::span<const double> buckets;  // empty: 1, 2, 5, 10, ... up to the longest context
};
// By HistogramId. Of requests, those that finished by themselves.
const HistogramSeries kHistogramSeries[] = {
    {"vllm:time_to_first_token_seconds", "From a request's arrival to its first token.",
     kFirstTokenBuckets},
    {"vllm:inter_token_latency_seconds", "Between two tokens of one answer.", kTokenBuckets},
    {"vllm:request_time_per_output_token_seconds",
     "Mean time between two tokens of an answer, once for a request; 0 where it has one token.",
     kTokenBuckets},
    {"vllm:e2e_request_latency_seconds", "From a request's arrival to its last token.",
     kRequestBuckets},
    {"vllm:request_queue_time_seconds", "From a request's arrival to its first step.",
     kRequestBuckets},
    {"vllm:request_inference_time_seconds", "From a request's first step to its last token.",
     kRequestBuckets},
    {"vllm:request_prefill_time_seconds", "From a request's first step to its first token.",
     kRequestBuckets},
    {"vllm:request_decode_time_seconds", "From a request's first token to its last.",
     kRequestBuckets},
    {"vllm:request_prompt_tokens", "Tokens of a request's prompt.", {}},
    {"vllm:request_generation_tokens", "Tokens generated for a request, all its choices.", {}},
    {"vllm:request_max_num_generation_tokens", "Tokens of a request's longest choice.", {}},
    {"vllm:request_params_n", "Choices that a request asked for.", kCountBuckets},
    {"vllm:request_params_max_tokens", "Tokens that a request allowed for each choice.", {}},
    {"vllm:request_prefill_kv_computed_tokens",
     "Tokens of a request's prompt that the prefix cache did not have.",
     {}},
    {"vllm:iteration_tokens_total", "Tokens computed in a step of the engine.", kStepBuckets},
    {"vllm:request_num_preemptions", "Times that a request's sequences were preempted.",
     kPreemptionBuckets},
};

// vLLM's "repetition" is absent: nothing here ends an answer for repeating itself.
constexpr std::pair<FinishReason, const char*> kFinishReasons[] = {
    {FinishReason::kStop, "stop"},
    {FinishReason::kLength, "length"},
    {FinishReason::kAbort, "abort"},
    {FinishReason::kError, "error"},
};

// Requests that a limit of the queue refused, by the limit: on how many wait, and on how long.
enum Rejection : uint8_t { kTooMany, kTooOld };
constexpr const char* kRejections[] = {"max_num_queued_reqs", "max_queue_ms"};

std::vector<double> decades_to(int64_t max) {
  std::vector<double> buckets;
  for (int64_t decade = 1; decade <= max; decade *= 10) {
    for (const int64_t digit : {1, 2, 5}) {
      if (digit * decade <= max) buckets.push_back(static_cast<double>(digit * decade));
    }
  }
  return buckets;
}

}  // namespace

EngineMetrics::EngineMetrics(const Generator& generator, std::string model_name)
    : generator_(generator), labels_({{"model_name", std::move(model_name)}, {"engine", "0"}}) {
  for (const HistogramSeries& series : kHistogramSeries) {
    histograms_.emplace_back(
        series.buckets.empty() ? decades_to(generator.card().context_max)
                               : std::vector<double>(series.buckets.begin(), series.buckets.end()));
  }
  finish_reasons_.resize(std::size(kFinishReasons));
  rejections_.resize(std::size(kRejections));
}

void EngineMetrics::rejected() { rejections_[kTooMany].Increment(); }

void EngineMetrics::stepped(const StepReport& report) {
  const auto histogram = [this](HistogramId id) -> prometheus::Histogram& {
    return histograms_[static_cast<size_t>(id)];
  };
  if (report.rows > 0) histogram(HistogramId::kStepTokens).Observe(report.rows);
  for (const absl::Duration took : report.first_tokens) {
    histogram(HistogramId::kFirstToken).Observe(absl::ToDoubleSeconds(took));
  }
  for (const TokenGap& gap : report.gaps) {
    const double each = absl::ToDoubleSeconds(gap.took) / gap.tokens;
    for (int32_t i = 0; i < gap.tokens; ++i) histogram(HistogramId::kTokenGap).Observe(each);
  }
}

void EngineMetrics::finished(const RequestReport& report) {
  const auto& [status, usage, times] = report.finish;
  const bool refused =
      absl::IsResourceExhausted(status) && times.started == Instant::infinite_past();
  if (refused) {
    rejections_[kTooOld].Increment();
    return;
  }
  for (size_t i = 0; i < std::size(kFinishReasons); ++i) {
    if (kFinishReasons[i].first == report.reason) finish_reasons_[i].Increment();
  }
  if (!status.ok()) return;
  const auto observe = [this](HistogramId id, double value) {
    histograms_[static_cast<size_t>(id)].Observe(value);
  };
  const auto time = [&](HistogramId id, Instant from, Instant to) {
    observe(id, absl::ToDoubleSeconds(to - from));
  };
  time(HistogramId::kWhole, times.arrived, times.finished);
  time(HistogramId::kQueue, times.arrived, times.started);
  time(HistogramId::kInference, times.started, times.finished);
  time(HistogramId::kPrefill, times.started, times.first_token);
  time(HistogramId::kDecode, times.first_token, times.finished);
  const auto longest = static_cast<double>(report.generated_longest);
  const double decode = absl::ToDoubleSeconds(times.finished - times.first_token);
  observe(HistogramId::kTimePerToken, longest > 1 ? decode / (longest - 1) : 0);
  observe(HistogramId::kRequestPreemptions, report.preemptions);
  observe(HistogramId::kRequestPrompt, static_cast<double>(usage.prompt_tokens));
  observe(HistogramId::kRequestGenerated, static_cast<double>(usage.generated_tokens));
  observe(HistogramId::kRequestLongest, longest);
  observe(HistogramId::kChoices, report.choices);
  observe(HistogramId::kTokensMax, static_cast<double>(report.tokens_max));
  observe(HistogramId::kComputedTokens,
          static_cast<double>(usage.prompt_tokens - usage.cached_tokens));
}

void EngineMetrics::collect(std::vector<MetricFamily>& families) const {
  const Moment moment = {generator_.stats(), generator_.card()};
  for (const ReadSeries& series : kReadSeries) {
    if (families.empty() || families.back().name != series.name) {
      families.push_back({series.name, series.help, series.type, {}});
    }
    families.back().metric.push_back(
        metric_of(series.read(moment),
                  series.label ? with(labels_, series.label, series.label_value) : labels_));
  }
  for (const GroupSeries& series : kGroupSeries) {
    MetricFamily& family =
        families.emplace_back(MetricFamily{series.name, series.help, series.type, {}});
    for (size_t g = 0; g < moment.stats.cache.size(); ++g) {
      const GroupUse& use = moment.stats.cache[g];
      family.metric.push_back(
          metric_of(static_cast<double>(series.read(use)), group_labels(labels_, g, use.group)));
    }
  }
  collect_drafts(moment.stats.drafts, labels_, families);
  collect_infos(families);
  MetricFamily& reasons =
      families.emplace_back(MetricFamily{"vllm:request_success_total",
                                         "Requests that came to an end, by how.",
                                         MetricType::Counter,
                                         {}});
  for (size_t i = 0; i < std::size(kFinishReasons); ++i) {
    reasons.metric.push_back(metric_of(finish_reasons_[i].Value(),
                                       with(labels_, "finished_reason", kFinishReasons[i].second)));
  }
  MetricFamily& rejections =
      families.emplace_back(MetricFamily{"vllm:admission_rejections_total",
                                         "Requests that a limit of the queue refused, by which.",
                                         MetricType::Counter,
                                         {}});
  for (size_t i = 0; i < std::size(kRejections); ++i) {
    rejections.metric.push_back(
        metric_of(rejections_[i].Value(), {labels_.front(), {"reason", kRejections[i]}}));
  }
  for (size_t i = 0; i < std::size(kHistogramSeries); ++i) {
    const HistogramSeries& series = kHistogramSeries[i];
    families.push_back({series.name,
                        series.help,
                        MetricType::Histogram,
                        {labelled(histograms_[i].Collect(), labels_)}});
  }
}

void EngineMetrics::collect_infos(std::vector<MetricFamily>& families) const {
  const ModelCard& card = generator_.card();
  MetricLabels cache = with(labels_, "block_size", std::to_string(card.block_tokens));
  cache = with(cache, "num_gpu_blocks", std::to_string(blocks_of(generator_.stats())));
  cache = with(cache, "enable_prefix_caching", card.prefix_caching ? "True" : "False");
  families.push_back({"vllm:cache_config_info",
                      "The KV cache as it is laid out; num_gpu_blocks is vLLM's name for the "
                      "blocks that bound how many tokens it holds, wherever they lie.",
                      MetricType::Gauge,
                      {metric_of(1, std::move(cache))}});
  MetricLabels adapters = with(labels_, "max_lora", "0");
  adapters = with(adapters, "waiting_lora_adapters", "");
  adapters = with(adapters, "running_lora_adapters", "");
  families.push_back(
      {"vllm:lora_requests_info",
       "Adapters in use: none. The value is the time, as routers expect it.",
       MetricType::Gauge,
       {metric_of(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), std::move(adapters))}});
}

}  // namespace millrace
