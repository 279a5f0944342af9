#include "apps/serving/session.h"

#include <cstdio>
#include <random>
#include <unistd.h>
#include <utility>

#include <absl/time/clock.h>
#include <nlohmann/json.hpp>

#include "apps/serving/interrupt.h"
#include "apps/serving/streamed_text.h"
#include "apps/terminal/output.h"
#include "apps/terminal/text_width.h"

namespace millrace {
namespace {

// How often a waiting answer looks whether it is still wanted.
constexpr absl::Duration kStopPoll = absl::Milliseconds(50);

uint64_t seed_of(const RunOptions& options) {
  if (options.seed >= 0) return static_cast<uint64_t>(options.seed);
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

SamplingParams sampling_of(const RunOptions& options, const AnswerDefaults& defaults) {
  SamplingParams sampling = {.temperature = kUsualSampling.temperature,
                             .top_k = kUsualSampling.top_k,
                             .top_p = kUsualSampling.top_p,
                             .min_p = kUsualSampling.min_p,
                             .repetition = kUsualSampling.repetition,
                             .logit_bias = {},
                             .seed = seed_of(options)};
  defaults.fill(sampling);
  const AnswerDefaults asked = {.temperature = options.temperature,
                                .top_p = options.top_p,
                                .min_p = options.min_p,
                                .repetition = options.repeat_penalty,
                                .top_k = options.top_k,
                                .ends = {}};
  asked.fill(sampling);
  return sampling;
}

Request request_of(const RunOptions& options, const AnswerDefaults& defaults,
                   std::vector<TokenId> prompt, int64_t context_max) {
  Request request;
  request.sampling = sampling_of(options, defaults);
  defaults.add_ends(request.stop);
  const int64_t left = context_max - static_cast<int64_t>(prompt.size());
  request.stop.tokens_max = options.max_tokens >= 0 ? std::min(options.max_tokens, left) : left;
  request.prompt = std::move(prompt);
  return request;
}

std::string rate(int64_t tokens, absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took);
  return fmt::format("{:.2f} s ({:.1f}/s)", seconds,
                     seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0);
}

}  // namespace

Session::Session(const Served& served, const RunOptions& options, std::function<bool()> is_stopped)
    : served_(served), options_(options), is_stopped_(std::move(is_stopped)) {
  if (::isatty(STDOUT_FILENO) != 0) wrapped_.emplace();
}

absl::Status Session::show(std::string_view text) {
  if (text.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(write_output(
      wrapped_ ? wrapped_->push(text, terminal_columns(STDOUT_FILENO)) : std::string(text),
      stdout));
  return flush_output(stdout);
}

absl::Status Session::end_line() {
  const std::string rest = wrapped_ ? wrapped_->finish(terminal_columns(STDOUT_FILENO)) : "";
  RETURN_IF_ERROR(write_output(rest + '\n', stdout));
  return flush_output(stdout);
}

absl::StatusOr<std::string> Session::complete(std::string_view prompt) {
  return generate(served_.tokenizer->encode(prompt));
}

absl::StatusOr<std::string> Session::reply(const nlohmann::ordered_json& messages) {
  if (!served_.chat_template) {
    return invalid_argument(
        "the model has no chat template: --chat-template chooses one, --raw gives "
        "the model the prompt as it is");
  }
  ChatContext context;
  context.messages = messages;
  context.bos_token = served_.bos_text();
  context.eos_token = served_.eos_text();
  context.now = absl::Now();
  ASSIGN_OR_RETURN(const MarkedText text, served_.chat_template->render(context));
  return generate(served_.tokenizer->encode(text, {.add_special = false}));
}

absl::StatusOr<std::string> Session::generate(std::vector<TokenId> prompt) {
  Generator& generator = served_.generator();
  const int64_t context_max = generator.card().context_max;
  if (static_cast<int64_t>(prompt.size()) >= context_max) {
    return out_of_range(
        "{} tokens do not fit into the context of {}; a shorter prompt does, and --max-model-len "
        "makes the context longer where the model and the cache (--kv-cache-memory-bytes) allow it",
        prompt.size(), context_max);
  }
  const auto answer = std::make_shared<StreamedText>(*served_.tokenizer, TextStream::Options{});
  std::optional<InterruptGuard> interrupt;
  if (!is_stopped_) interrupt.emplace();
  ASSIGN_OR_RETURN(const RequestId id, generator.submit(request_of(options_, served_.defaults,
                                                                   std::move(prompt), context_max),
                                                        answer));
  std::string whole;
  bool cancelled = false;
  while (!answer->end()) {
    const std::string text = answer->wait(kStopPoll);
    whole += text;
    const bool stopped = interrupt ? interrupt->take() : is_stopped_();
    const absl::Status shown = show(text);
    if (!cancelled && (stopped || !shown.ok())) generator.cancel(id);
    cancelled = cancelled || stopped;
    if (!shown.ok()) return shown;
  }
  last_ = *answer->end();
  cut_short_ = answer->last_reason() == FinishReason::kLength;
  RETURN_IF_ERROR(end_line());
  if (!last_.status.ok() && !absl::IsCancelled(last_.status)) return last_.status;
  return whole;
}

bool Session::context_is_full() const {
  return cut_short_ &&
         (options_.max_tokens < 0 || last_.usage.generated_tokens < options_.max_tokens);
}

std::string Session::timings() const {
  const RequestTimes& times = last_.times;
  const RequestUsage& usage = last_.usage;
  const int64_t computed = usage.prompt_tokens - usage.cached_tokens;
  if (times.first_token == Instant::infinite_past()) return "stopped before the first token";
  std::string line = fmt::format("{} prompt tokens in {}", computed,
                                 rate(computed, times.first_token - times.arrived));
  if (usage.cached_tokens > 0) line += fmt::format(", {} more cached", usage.cached_tokens);
  if (usage.generated_tokens > 1) {
    const absl::Duration decode = times.finished - times.first_token;
    line += fmt::format(", {} tokens in {}", usage.generated_tokens,
                        rate(usage.generated_tokens - 1, decode));
  }
  if (usage.drafted_tokens > 0) {
    line += fmt::format(", {} steps, {} of {} drafted tokens accepted", usage.steps,
                        usage.accepted_tokens, usage.drafted_tokens);
  }
  return line;
}

}  // namespace millrace
