#include "server/generation.h"

#include <algorithm>

#include <absl/time/clock.h>

#include "server/api_error.h"
#include "server/retry_after.h"
#include "server/timings.h"

namespace millrace {
namespace {

// One socket write's worth: large enough to cost few calls, small enough to bound a slow client.
constexpr size_t kPortionBytes = size_t{64} << 10;
constexpr std::string_view kFingerprint = "millrace-" MILLRACE_VERSION;

int64_t count_characters(std::string_view utf8) {
  return std::ranges::count_if(
      utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; });
}

std::string event_line(std::string_view data) { return fmt::format("data: {}\n\n", data); }

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

// A refusal for want of room, with how long the wait for some is.
absl::Status with_patience(const Generator& generator, absl::Status status) {
  if (!absl::IsResourceExhausted(status)) return status;
  return with_retry_after(retry_after_seconds(generator.stats()), std::move(status));
}

// What follows the choices of an answer's object.
std::string members_after(const Json& members) {
  if (members.empty()) return {};
  const std::string object = json_text(members);
  return "," + object.substr(1, object.size() - 2);
}

ScoredToken scored_token(const TokenEvent& event, int64_t text_offset) {
  return {event.token, true, event.logprob, event.top, text_offset};
}

}  // namespace

absl::StatusOr<std::shared_ptr<Generation>> Generation::start(
    std::shared_ptr<const NamedModel> model, const AnswerShape& shape, ApiRequest request,
    std::vector<Prompt> prompts, const std::vector<int64_t>& tokens_max, int64_t pending_bytes) {
  std::shared_ptr<Generation> generation(new Generation(std::move(model), shape, std::move(request),
                                                        std::move(prompts), pending_bytes));
  RETURN_IF_ERROR(generation->submit(tokens_max));
  return generation;
}

Generation::Generation(std::shared_ptr<const NamedModel> model, const AnswerShape& shape,
                       ApiRequest request, std::vector<Prompt> prompts, int64_t pending_bytes)
    : model_(std::move(model)),
      shape_(shape),
      request_(std::move(request)),
      mailbox_(std::make_shared<Mailbox>(pending_bytes)) {
  report_.choices = std::ssize(prompts) * request_.generation.choices;
  for (Prompt& prompt : prompts) {
    report_.usage.prompt_tokens += std::ssize(prompt.tokens);
    prompts_.emplace_back().prompt = std::move(prompt);
  }
  make_choices();
  envelope_ = make_envelope(shape_, request_);
}

Generation::~Generation() { cancel(); }

void Generation::make_choices() {
  const Tokenizer& tokenizer = model_->served.tokenizer;
  const TextStream::Options options = {.stops = request_.generation.stop.strings,
                                       .include_stop = request_.answer.include_stop,
                                       .skip_special = request_.answer.skip_special,
                                       .unheard = request_.generation.stop.tokens_min};
  const bool needs_offsets = wants_logprobs() && shape_.prompt_in_choice;
  const size_t count = prompts_.size() * static_cast<size_t>(request_.generation.choices);
  choices_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Choice& choice = choices_.emplace_back(TextStream(tokenizer, options));
    if (needs_offsets) {
      choice.unstopped.emplace(
          tokenizer, TextStream::Options{.stops = {}, .skip_special = options.skip_special});
    }
  }
  for (PromptState& state : prompts_) {
    ScoredToken first;
    first.token = state.prompt.tokens.front();
    state.scored.push_back(first);
  }
}

absl::Status Generation::submit(const std::vector<int64_t>& tokens_max) {
  std::vector<Submission> submissions;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    Request request = request_.generation;
    request.client_id = request_.client_id;
    request.prompt = prompts_[i].prompt.tokens;
    request.stop.tokens_max = tokens_max[i];
    request.sampling.seed = *request_.seed;
    auto sink = std::make_shared<MailboxSink>(mailbox_, static_cast<int32_t>(i));
    submissions.push_back({std::move(request), std::move(sink)});
  }
  Generator& generator = model_->served.generator;
  absl::StatusOr<std::vector<RequestId>> ids = generator.submit_all(std::move(submissions));
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
  if (request_.stream && !over_) {
    part.events = ": ping\n\n";
    streaming_ = true;
  }
  return part;
}

void Generation::end(const absl::Status& reason) {
  ending_ = reason;
  if (!over_) report_.reason = reason.ok() ? FinishReason::kAbort : FinishReason::kError;
  cancel();
}

void Generation::accept(const Delivery& delivery, AnswerPart& part) {
  PromptState& prompt = prompts_[static_cast<size_t>(delivery.prompt)];
  if (delivery.finish) {
    accept_finish(prompt, *delivery.finish, part);
  } else if (delivery.token.of_prompt) {
    accept_prompt_token(prompt, delivery.token);
  } else {
    accept_token(delivery.prompt * request_.generation.choices + delivery.token.choice,
                 delivery.token, part);
  }
}

void Generation::accept_prompt_token(PromptState& prompt, const TokenEvent& token) {
  prompt.scored.push_back(scored_token(token, 0));
}

void Generation::score(Choice& choice, const TokenEvent& token) {
  if (!wants_logprobs()) return;
  choice.scored.push_back(scored_token(token, choice.characters));
  if (choice.unstopped) choice.characters += count_characters(choice.unstopped->push(token.token));
}

Json Generation::take_logprobs(Choice& choice) {
  if (!wants_logprobs()) return nullptr;
  const TokenNames names = {model_->served.tokenizer, request_.answer.tokens_as_ids};
  Json logprobs = shape_.logprobs(names, choice.scored);
  choice.scored.clear();
  return logprobs;
}

// What an answer says of its prompt besides the text.
Json Generation::about_prompt(const PromptState& prompt) const {
  Json members = Json::object();
  if (request_.answer.token_ids) members["prompt_token_ids"] = prompt.prompt.tokens;
  if (request_.answer.prompt_logprobs) {
    members["prompt_logprobs"] = prompt_logprobs(model_->served.tokenizer, prompt.scored);
  }
  return members;
}

// Every chunk of a choice goes through here.
void Generation::send_choice(int32_t index, Json chunk, AnswerPart& part) {
  Choice& choice = this->choice(index);
  const PromptState& prompt = prompt_of(index);
  Json after = Json::object();
  if (!std::exchange(choice.sent, true)) {
    (shape_.prompt_in_choice ? chunk : after).update(about_prompt(prompt));
  }
  if (!choice.token_ids.empty()) chunk["token_ids"] = std::exchange(choice.token_ids, {});
  if (request_.answer.include_usage && request_.answer.continuous_usage) {
    after["usage"] = usage_json(
        {.prompt_tokens = std::ssize(prompt.prompt.tokens), .generated_tokens = choice.tokens});
    after["usage"].erase("prompt_tokens_details");  // known when the prompt's work is over
  }
  streaming_ = true;
  part.events += event_line(envelope_ + json_text(chunk) + "]" + members_after(after) + "}");
}

// A choice's first chunk, and before a completion's own tokens the prompt that it repeats.
void Generation::open(int32_t index, AnswerPart& part) {
  Choice& choice = this->choice(index);
  choice.opened = true;
  if (request_.answer.echo) {
    PromptState& prompt = prompt_of(index);
    choice.gathered = prompt.prompt.text;
    if (choice.unstopped) {
      for (ScoredToken token : prompt.scored) {
        token.text_offset = choice.characters;
        choice.characters += count_characters(choice.unstopped->push(token.token));
        choice.scored.push_back(std::move(token));
      }
    }
  }
  if (!request_.stream) return;
  if (shape_.opening != nullptr) send_choice(index, shape_.opening(index), part);
  if (request_.answer.echo) {
    send_choice(index, shape_.delta(index, choice.gathered, take_logprobs(choice)), part);
  }
}

void Generation::accept_token(int32_t index, const TokenEvent& token, AnswerPart& part) {
  Choice& choice = this->choice(index);
  if (!choice.opened) open(index, part);
  ++report_.usage.generated_tokens;
  score(choice, token);
  ++choice.tokens;
  if (request_.answer.token_ids) choice.token_ids.push_back(token.token);
  // What ended the answer, unless it was a stop string, has no text of its own.
  const bool silent = token.finish == FinishReason::kStop && token.stop_string < 0;
  std::string text;
  if (!silent || request_.answer.include_stop) text = choice.text.push(token.token);
  const bool finished = token.finish != FinishReason::kNone;
  if (finished) {
    text += choice.text.finish();
    choice.reason = report_.reason = token.finish;
  }
  if (!request_.stream) {
    choice.gathered += text;
    return;
  }
  if (!text.empty() || !choice.scored.empty() || !choice.token_ids.empty()) {
    send_choice(index, shape_.delta(index, text, take_logprobs(choice)), part);
  }
  const bool by_itself =
      token.finish == FinishReason::kStop || token.finish == FinishReason::kLength;
  if (by_itself) send_choice(index, shape_.closing(index, reason_text(token.finish)), part);
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
  if (streaming_) {
    part.events += event_line(error_json(status)) + event_line("[DONE]");
  } else {
    part.whole = error_response(status);
  }
}

void Generation::complete(AnswerPart& part) {
  over_ = part.last = true;
  Json after = Json::object();
  if (!request_.stream || request_.answer.include_usage) after["usage"] = usage_json(report_.usage);
  if (request_.answer.timings) after["timings"] = timings_json(report_.usage, report_.times);
  if (request_.stream) {
    if (!after.empty()) part.events += event_line(envelope_ + "]" + members_after(after) + "}");
    part.events += event_line("[DONE]");
    return;
  }
  if (!shape_.prompt_in_choice) after.update(about_prompt(prompts_.front()));
  HttpResponse& response = part.whole.emplace();
  response.body = envelope_;
  for (int32_t i = 0; i < static_cast<int32_t>(choices_.size()); ++i) {
    if (i > 0) response.body += ',';
    response.body += whole_choice(i);
  }
  response.body += "]" + members_after(after) + "}";
}

std::string Generation::whole_choice(int32_t index) {
  Choice& choice = this->choice(index);
  Json json =
      shape_.whole(index, choice.gathered, take_logprobs(choice), reason_text(choice.reason));
  if (shape_.prompt_in_choice) json.update(about_prompt(prompt_of(index)));
  if (request_.answer.token_ids) json["token_ids"] = std::exchange(choice.token_ids, {});
  return json_text(json);
}

}  // namespace millrace
