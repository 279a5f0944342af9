#include "server/request/prompts.h"

#include <algorithm>

#include <absl/time/clock.h>

#include "chat/chat.h"
#include "core/generator.h"
#include "server/http/api_error.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";

std::string spelling(const Vocab& vocab, const std::optional<TokenId>& token) {
  return token ? std::string(vocab.text(*token)) : std::string();
}

// What a request's truncate_prompt_tokens leaves of a prompt. True if that is not all.
bool truncate(const ApiRequest& request, int64_t context_max, std::vector<TokenId>& tokens) {
  if (!request.encoding.tokens_kept) return false;
  const int64_t beside = request.answer_tokens().value_or(kCompletionTokensDefault);
  const int64_t asked = *request.encoding.tokens_kept;
  const int64_t kept = asked < 0 ? std::max<int64_t>(context_max - beside, 1) : asked;
  if (std::ssize(tokens) <= kept) return false;
  if (request.encoding.keep_first) {
    tokens.resize(static_cast<size_t>(kept));
  } else {
    tokens.erase(tokens.begin(), tokens.end() - kept);
  }
  return true;
}

// Refuses a text that is too long whatever its tokens are, before it is tokenised. Text that would
// be one unknown token, or none, however long it is, counts like any other.
absl::Status check_may_fit(std::string_view text, const ApiRequest& request,
                           const NamedModel& model, std::string_view field) {
  if (request.encoding.tokens_kept) return absl::OkStatus();
  const int64_t tokens_least =
      (std::ssize(text) + model.token_bytes_max - 1) / model.token_bytes_max;
  if (tokens_least < model.context_max) return absl::OkStatus();
  return tokens_allowed(request, tokens_least, 1, model.context_max, field).status();
}

// The text of a message, or the last of its texts.
std::string_view last_text(const Json& message) {
  const Json& content = message.at("content");
  if (content.is_null()) return {};
  const Json& text = content.is_array() ? content.back().at("text") : content;
  return text.get_ref<const std::string&>();
}

std::string_view without_last_spaces(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);
}

// Ends a rendered chat where its last message's text ends, as transformers does for
// continue_final_message. Templates may trim the text. Only text from messages is searched, which
// keeps the search linear and finds no spelling of the template's own.
absl::StatusOr<MarkedText> open_final_message(const Json& messages, const MarkedText& rendered) {
  std::string_view text = last_text(messages.back());
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  const std::string_view trimmed = without_last_spaces(text);
  for (size_t i = trimmed.empty() ? 0 : rendered.written.size(); i > 0; --i) {
    const ByteRange& range = rendered.written[i - 1];
    const std::string_view shown =
        without_last_spaces(std::string_view(rendered.text).substr(0, range.end));
    const bool is_here = shown.size() >= range.begin + trimmed.size() && shown.ends_with(trimmed);
    if (!is_here) continue;
    const size_t at = shown.size() - trimmed.size();
    const bool whole = std::string_view(rendered.text).substr(at).starts_with(text);
    const size_t end = at + (whole ? text.size() : trimmed.size());
    return MarkedView{rendered.text, rendered.written}.part(0, end).copy();
  }
  return at_field("continue_final_message",
                  invalid_argument("the chat template does not show the last message's text, so "
                                   "nothing can go on with it"));
}

ChatContext chat_context(const ApiRequest& request, const Vocab& vocab) {
  const TemplateOptions& chat = request.chat;
  ChatContext context;
  context.messages = request.messages;
  context.extra = chat.values;
  if (!chat.documents.is_null()) context.extra["documents"] = chat.documents;
  if (!chat.reasoning_effort.empty()) context.extra["reasoning_effort"] = chat.reasoning_effort;
  context.add_generation_prompt = chat.add_generation_prompt.value_or(!chat.continue_final);
  context.bos_token = spelling(vocab, vocab.bos());
  context.eos_token = spelling(vocab, vocab.eos());
  context.now = absl::Now();
  return context;
}

// vLLM's rule: the last message comes before the answer where both have one role.
std::string echoed_message(const ApiRequest& request) {
  if (!request.answer.echo) return {};
  const Json& last = request.messages.back();
  const bool new_message =
      request.chat.add_generation_prompt.value_or(!request.chat.continue_final);
  const bool one_role = !new_message || last.at("role") == "assistant";
  return one_role ? std::string(last_text(last)) : std::string();
}

}  // namespace

std::vector<TokenId> encode_text(std::string_view text, const ApiRequest& request,
                                 const NamedModel& model) {
  const EncodeOptions encode = {.add_special = request.encoding.add_special.value_or(true)};
  return model.served.tokenizer.encode(text, encode);
}

absl::StatusOr<std::vector<Prompt>> completion_prompts(const ApiRequest& request,
                                                       const NamedModel& model) {
  const DecodeOptions decode = {.skip_special = false};
  std::vector<Prompt> prompts;
  for (const PromptInput& input : request.prompts) {
    const size_t index = prompts.size();
    Prompt& prompt = prompts.emplace_back();
    prompt.field = request.prompts_listed ? fmt::format("prompt[{}]", index) : "prompt";
    const auto* text = std::get_if<std::string>(&input);
    if (text == nullptr) {
      prompt.tokens = std::get<std::vector<TokenId>>(input);
    } else {
      RETURN_IF_ERROR(check_may_fit(*text, request, model, prompt.field));
      prompt.tokens = encode_text(*text, request, model);
    }
    const bool truncated = truncate(request, model.context_max, prompt.tokens);
    if (prompt.tokens.empty()) {
      return at_field(prompt.field,
                      invalid_argument("{} must have at least one token", prompt.field));
    }
    if (!request.answer.echo) continue;
    const bool as_given = text != nullptr && !truncated;
    prompt.text = as_given ? *text : model.served.tokenizer.decode(prompt.tokens, decode);
  }
  return prompts;
}

absl::StatusOr<MarkedText> render_chat(const ApiRequest& request, const NamedModel& model) {
  const ChatTemplate* chat = model.served.chat_template;
  if (chat == nullptr) {
    return at_field("messages", invalid_argument("the model has no chat template: use "
                                                 "/v1/completions, or start the server with "
                                                 "--chat-template"));
  }
  absl::StatusOr<MarkedText> text =
      chat->render(chat_context(request, model.served.tokenizer.vocab()));
  if (!text.ok()) {
    return at_field("messages", invalid_argument("the chat template refuses these messages: {}",
                                                 ChatTemplate::reason_of(text.status())));
  }
  return request.chat.continue_final ? open_final_message(request.messages, *text) : text;
}

// Templates write the token that begins the sequence themselves.
std::vector<TokenId> encode_chat(const MarkedText& text, const ApiRequest& request,
                                 const NamedModel& model) {
  const EncodeOptions encode = {.add_special = request.encoding.add_special.value_or(false)};
  return model.served.tokenizer.encode(text, encode);
}

absl::StatusOr<std::vector<Prompt>> chat_prompts(const ApiRequest& request,
                                                 const NamedModel& model) {
  ASSIGN_OR_RETURN(const MarkedText text, render_chat(request, model));
  std::vector<Prompt> prompts(1);
  Prompt& prompt = prompts.front();
  prompt.field = "messages";
  RETURN_IF_ERROR(check_may_fit(text.text, request, model, prompt.field));
  prompt.tokens = encode_chat(text, request, model);
  truncate(request, model.context_max, prompt.tokens);
  if (prompt.tokens.empty()) {
    return at_field("messages", invalid_argument("the chat template makes nothing of messages"));
  }
  prompt.text = echoed_message(request);
  return prompts;
}

// As vLLM does it, so that the same words are kept out.
std::vector<std::vector<TokenId>> tokens_of_words(const std::vector<std::string>& words,
                                                  const Tokenizer& tokenizer) {
  const EncodeOptions alone = {.add_special = false};
  std::vector<std::vector<TokenId>> runs;
  for (const std::string& word : words) {
    const std::string text = word.substr(std::min(word.find_first_not_of(kSpaces), word.size()));
    std::vector<TokenId> first = tokenizer.encode(text, alone);
    std::vector<TokenId> later = tokenizer.encode(" " + text, alone);
    const bool another =
        !first.empty() && later.size() == first.size() && later.front() != first.front();
    if (another) runs.push_back(std::move(later));
    if (!first.empty()) runs.push_back(std::move(first));
  }
  return runs;
}

absl::StatusOr<int64_t> tokens_allowed(const ApiRequest& request, int64_t prompt_tokens,
                                       int64_t tokens_default, int64_t context_max,
                                       std::string_view field) {
  const int64_t rest = context_max - prompt_tokens;
  const std::optional<int64_t> asked = request.answer_tokens();
  const int64_t most = std::max<int64_t>(rest, 1);
  const int64_t allowed =
      asked.value_or(request.tokens_unbounded ? most : std::min(tokens_default, most));
  if (allowed <= rest) return allowed;
  return at_field(
      field,
      with_code("context_length_exceeded",
                invalid_argument("This model's maximum context length is {} tokens. However, you "
                                 "requested {} output tokens and your prompt contains at least {} "
                                 "input tokens, for a total of at least {} tokens. Please reduce "
                                 "the length of the input prompt or the number of requested "
                                 "output tokens.",
                                 context_max, allowed, prompt_tokens, allowed + prompt_tokens)));
}

}  // namespace millrace
