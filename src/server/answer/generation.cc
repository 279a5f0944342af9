#include "server/answer/generation.h"

#include <absl/time/clock.h>
#include <fmt/ranges.h>

#include "server/answer/event_text.h"
#include "server/answer/retry_after.h"
#include "server/answer/timings.h"
#include "server/http/api_error.h"

namespace millrace {
namespace {

// One socket write's worth: large enough to cost few calls, small enough to bound a slow client.
constexpr size_t kPortionBytes = size_t{64} << 10;
constexpr std::string_view kFingerprint = "millrace-" MILLRACE_VERSION;

// Everything of an answer's object up to its choices, which follow as text.
std::string make_envelope(const AnswerShape& shape, const ApiRequest& request) {
  Json envelope;
  envelope["id"] = fmt::format("{}{}", shape.id_prefix, request.client_id);
  envelope["object"] = request.stream ? shape.chunk_object : shape.whole_object;
  envelope["created"] = absl::ToUnixSeconds(absl::Now());
  envelope["model"] = request.model;
  envelope["system_fingerprint"] = kFingerprint;
  std::string text = json_text(envelope);
  text.pop_back();
  return text + ",\"choices\":[";
}

// What follows the choices of an answer's object.
std::string members_after(const Json& members) {
  if (members.empty()) return {};
  const std::string object = json_text(members);
  return "," + object.substr(1, object.size() - 2);
}

// An object as text, with more members.
std::string extended(std::string object, std::string_view members) {
  object.insert(object.size() - 1, members);
  return object;
}

// A refusal by the queue, with the time after which there may be room.
absl::Status with_patience(const Generator& generator, absl::Status status) {
  if (!absl::IsResourceExhausted(status)) return status;
  return with_retry_after(retry_after_seconds(generator.stats()), std::move(status));
}

std::string token_ids_member(const std::vector<TokenId>& tokens) {
  return fmt::format(R"(,"token_ids":[{}])", fmt::join(tokens, ","));
}

ScoredToken scored_token(const TokenEvent& event) {
  return {.token = event.token, .scored = true, .logprob = event.logprob, .top = event.top};
}

}  // namespace

absl::StatusOr<std::shared_ptr<Generation>> Generation::start(
    std::shared_ptr<const NamedModel> model, const AnswerShape& shape, ApiRequest request,
    std::vector<Prompt> prompts, const ServerLimits& limits) {
  std::shared_ptr<Generation> generation(
      new Generation(std::move(model), shape, request, prompts, limits));
  std::vector<Submission> work = generation->work_of(request.generation, std::move(prompts));
  request = ApiRequest();  // it may be large, and the answer take long
  RETURN_IF_ERROR(generation->submit(std::move(work)));
  return generation;
}

Generation::Generation(std::shared_ptr<const NamedModel> model, const AnswerShape& shape,
                       const ApiRequest& request, std::vector<Prompt>& prompts,
                       const ServerLimits& limits)
    : model_(std::move(model)),
      shape_(shape),
      answer_(request.answer),
      stop_(request.generation.stop),
      stream_(request.stream),
      scores_(request.generation.logprobs >= 0),
      choices_each_(request.generation.choices),
      score_bytes_max_(limits.answer_bytes),
      mailbox_(std::make_shared<Mailbox>(limits.pending_bytes)) {
  for (Prompt& prompt : prompts) add_prompt(prompt);
  make_choices();
  report_.choices = std::ssize(choices_);
  envelope_ = make_envelope(shape_, request);
}

Generation::~Generation() { cancel(); }

void Generation::watch(std::function<void()> wake) { mailbox_->watch(std::move(wake)); }

AnswerPart Generation::next() {
  AnswerPart part;
  if (!over_ && !ending_.ok()) fail(ending_, part);
  while (!over_ && part.events.size() < kPortionBytes) {
    if (cursor_ == taken_.size()) {
      cursor_ = 0;
      if (!mailbox_->take(taken_)) break;
    }
    accept(taken_[cursor_++], part);
  }
  return part;
}

AnswerPart Generation::ping() {
  AnswerPart part;
  if (stream_ && !over_) {
    part.events = kPing;
    streamed_ = true;
  }
  return part;
}

void Generation::end(const absl::Status& reason) {
  ending_ = reason;
  if (!over_) report_.reason = reason.ok() ? FinishReason::kAbort : FinishReason::kError;
  cancel();
}

void Generation::add_prompt(Prompt& prompt) {
  report_.usage.prompt_tokens += std::ssize(prompt.tokens);
  PromptState& state =
      prompts_.emplace_back(TextOffsets(model_->served.tokenizer, stop_.skip_special));
  state.tokens = std::ssize(prompt.tokens);
  state.text = std::move(prompt.text);
  if (answer_.token_ids) state.token_ids = fmt::to_string(fmt::join(prompt.tokens, ","));
  accept_prompt_token(state, {.token = prompt.tokens.front(), .top = {}});
}

void Generation::make_choices() {
  const TextStream text(model_->served.tokenizer, {.stops = stop_.strings,
                                                   .include_stop = answer_.include_stop,
                                                   .skip_special = stop_.skip_special,
                                                   .unheard = stop_.tokens_min});
  const size_t count = prompts_.size() * static_cast<size_t>(choices_each_);
  choices_.reserve(count);
  for (size_t i = 0; i < count; ++i) choices_.emplace_back(text);
}

std::vector<Submission> Generation::work_of(const Request& shared,
                                            std::vector<Prompt> prompts) const {
  std::vector<Submission> work;
  for (Prompt& prompt : prompts) {
    auto sink = std::make_shared<MailboxSink>(mailbox_, static_cast<int32_t>(work.size()));
    Request& request = work.emplace_back(Submission{shared, std::move(sink)}).request;
    request.prompt = std::move(prompt.tokens);
    request.stop.tokens_max = prompt.tokens_max;
    request.sampling.seed = prompt.seed;
  }
  return work;
}

absl::Status Generation::submit(std::vector<Submission> work) {
  Generator& generator = model_->served.generator;
  absl::StatusOr<std::vector<RequestId>> ids = generator.submit_all(std::move(work));
  if (!ids.ok()) return with_patience(generator, ids.status());
  for (size_t i = 0; i < prompts_.size(); ++i) prompts_[i].id = (*ids)[i];
  return absl::OkStatus();
}

void Generation::cancel() {
  mailbox_->close();
  for (PromptState& prompt : prompts_) {
    if (prompt.id.valid() && !prompt.finished) model_->served.generator.cancel(prompt.id);
    prompt.finished = true;
  }
}

void Generation::accept(const Delivery& delivery, AnswerPart& part) {
  PromptState& prompt = prompts_[static_cast<size_t>(delivery.prompt)];
  if (delivery.finish) {
    accept_finish(prompt, *delivery.finish, part);
  } else if (delivery.token.of_prompt) {
    accept_prompt_token(prompt, scored_token(delivery.token));
  } else {
    const int32_t index = delivery.prompt * choices_each_ + delivery.token.choice;
    accept_token(index, delivery.token, part);
    if (!stream_) {
      check_held(part);
    } else if (!delivery.more) {
      send_gathered(index, part);
    }
  }
}

void Generation::accept_prompt_token(PromptState& prompt, ScoredToken token) const {
  if (answer_.prompt_logprobs) {
    append_element(prompt_logprob(model_->served.tokenizer, token), prompt.logprobs);
  }
  if (!echoes_scores()) return;
  token.text_offset = prompt.offsets.next(token.token);
  shape_.add_score(names(), token, prompt.scores);
}

void Generation::score(Choice& choice, const TokenEvent& token) {
  if (!scores_) return;
  ScoredToken scored = scored_token(token);
  if (choice.offsets) scored.text_offset = choice.offsets->next(token.token);
  const int64_t before = choice.scores.bytes();
  shape_.add_score(names(), scored, choice.scores);
  score_bytes_ += choice.scores.bytes() - before;
}

// As vLLM has it: null for the model's own end of generation.
Ending Generation::ending_of(const TokenEvent& last) const {
  Ending ending = {.reason = reason_text(last.finish)};
  if (last.finish != FinishReason::kStop) return ending;
  const Vocab& vocab = model_->served.tokenizer.vocab();
  if (last.stop_string >= 0) {
    ending.stop = json_text(stop_.strings.begin()[last.stop_string]);
  } else if (stop_.ignore_eos || !vocab.ends_generation(last.token)) {
    ending.stop = fmt::to_string(last.token);
  }
  return ending;
}

std::string Generation::logprobs_of(const ScoreText& scores) const {
  return scores_ ? shape_.logprobs(scores) : "null";
}

// What an answer says of its prompt besides the text.
std::string Generation::about_prompt(const PromptState& prompt) const {
  std::string members;
  if (answer_.token_ids) members += fmt::format(R"(,"prompt_token_ids":[{}])", prompt.token_ids);
  if (answer_.prompt_logprobs)
    members += fmt::format(R"(,"prompt_logprobs":[{}])", prompt.logprobs);
  return members;
}

// Every chunk of a choice goes through here.
void Generation::send_choice(int32_t index, std::string chunk, AnswerPart& part) {
  Choice& choice = this->choice(index);
  const PromptState& prompt = prompt_of(index);
  std::string inside, after;
  if (!std::exchange(choice.sent, true)) {
    (shape_.prompt_in_choice ? inside : after) = about_prompt(prompt);
  }
  if (!choice.token_ids.empty()) {
    inside += token_ids_member(std::exchange(choice.token_ids, {}));
  }
  if (answer_.include_usage && answer_.continuous_usage) {
    Json usage = usage_json({.prompt_tokens = prompt.tokens, .generated_tokens = choice.tokens});
    usage.erase("prompt_tokens_details");  // known when the prompt's work is over
    after += R"(,"usage":)" + json_text(usage);
  }
  streamed_ = true;
  part.events += event_text(envelope_ + extended(std::move(chunk), inside) + "]" + after + "}");
}

// A choice's first chunk, and before a completion's own tokens the prompt that it repeats.
void Generation::open(int32_t index, AnswerPart& part) {
  Choice& choice = this->choice(index);
  const PromptState& prompt = prompt_of(index);
  choice.opened = true;
  if (scores_ && shape_.prompt_in_choice) choice.offsets.emplace(prompt.offsets);
  if (!stream_) return;
  if (shape_.opening != nullptr) send_choice(index, shape_.opening(index), part);
  if (answer_.echo) {
    const std::string logprobs = echoes_scores() ? logprobs_of(prompt.scores) : "null";
    send_choice(index, shape_.delta(index, prompt.text, logprobs), part);
  }
}

void Generation::accept_token(int32_t index, const TokenEvent& token, AnswerPart& part) {
  Choice& choice = this->choice(index);
  if (!choice.opened) open(index, part);
  ++report_.usage.generated_tokens;
  score(choice, token);
  ++choice.tokens;
  if (answer_.token_ids) choice.token_ids.push_back(token.token);
  // What ended the answer, unless it was a stop string, has no text of its own.
  const bool silent = token.finish == FinishReason::kStop && token.stop_string < 0;
  if (!silent || answer_.include_stop) choice.gathered += choice.text.push(token.token);
  if (token.finish == FinishReason::kNone) return;
  choice.gathered += choice.text.finish();
  choice.ending = ending_of(token);
  report_.reason = choice.finish = token.finish;
}

void Generation::check_held(AnswerPart& part) {
  if (score_bytes_ <= score_bytes_max_) return;
  fail(unavailable("the answer's log-probabilities are more than {} bytes: ask for fewer "
                   "tokens, or for a stream",
                   score_bytes_max_),
       part);
}

// One chunk for all tokens that a step has made known.
void Generation::send_gathered(int32_t index, AnswerPart& part) {
  Choice& choice = this->choice(index);
  if (!choice.gathered.empty() || !choice.scores.empty() || !choice.token_ids.empty()) {
    const std::string logprobs = logprobs_of(std::exchange(choice.scores, {}));
    send_choice(index, shape_.delta(index, std::exchange(choice.gathered, {}), logprobs), part);
  }
  const bool by_itself =
      choice.finish == FinishReason::kStop || choice.finish == FinishReason::kLength;
  if (by_itself) send_choice(index, shape_.closing(index, choice.ending), part);
}

void Generation::accept_finish(PromptState& prompt, const FinishEvent& finish, AnswerPart& part) {
  prompt.finished = true;
  if (!finish.status.ok()) {
    const bool overflowed = mailbox_->overflowed();
    fail(overflowed ? unavailable("the answer grew faster than it could be sent")
                    : with_patience(model_->served.generator, finish.status),
         part);
    return;
  }
  report_.add(finish);
  if (++finished_ == prompts_.size()) complete(part);
}

void Generation::fail(const absl::Status& status, AnswerPart& part) {
  cancel();
  over_ = part.last = true;
  report_.reason = FinishReason::kError;
  if (absl::IsInternal(status)) report_.error = message_of(status);
  if (streamed_) {
    part.events += event_text(error_json(status)) + event_text("[DONE]");
  } else {
    part.whole = error_response(status);
  }
}

void Generation::complete(AnswerPart& part) {
  over_ = part.last = true;
  Json members = Json::object();
  if (!stream_ || answer_.include_usage) members["usage"] = usage_json(report_.usage);
  if (answer_.timings) members["timings"] = timings_json(report_.usage, report_.times);
  const std::string after = members_after(members);
  if (stream_) {
    if (!after.empty()) part.events += event_text(envelope_ + "]" + after + "}");
    part.events += event_text("[DONE]");
    return;
  }
  std::string& body = part.whole.emplace().body;
  body = envelope_;
  for (int32_t i = 0; i < static_cast<int32_t>(choices_.size()); ++i) {
    if (i > 0) body += ',';
    body += whole_choice(i);
  }
  body += ']' + after;
  if (!shape_.prompt_in_choice) body += about_prompt(prompts_.front());
  body += '}';
}

std::string Generation::whole_choice(int32_t index) {
  Choice& choice = this->choice(index);
  const PromptState& prompt = prompt_of(index);
  ScoreText scores = prompt.scores;
  scores.append(std::exchange(choice.scores, {}));
  const std::string text =
      answer_.echo ? prompt.text + choice.gathered : std::exchange(choice.gathered, {});
  std::string whole = shape_.whole(index, text, logprobs_of(scores), choice.ending);
  std::string members;
  if (shape_.prompt_in_choice) members = about_prompt(prompt);
  if (answer_.token_ids) members += token_ids_member(choice.token_ids);
  return extended(std::move(whole), members);
}

}  // namespace millrace
