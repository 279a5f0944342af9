#include "server/prompts.h"

#include <algorithm>

#include <absl/time/clock.h>

#include "core/generator.h"
#include "server/api_error.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

std::string spelling(const Vocab& vocab, const std::optional<TokenId>& token) {
  return token ? std::string(vocab.text(*token)) : std::string();
}

}  // namespace

absl::StatusOr<std::vector<Prompt>> completion_prompts(const ApiRequest& request,
                                                       const NamedModel& model) {
  const EncodeOptions encode = {.add_special = request.add_special_tokens.value_or(true)};
  const DecodeOptions decode = {.skip_special = false};
  std::vector<Prompt> prompts;
  for (const PromptInput& input : request.prompts) {
    Prompt& prompt = prompts.emplace_back();
    if (const auto* text = std::get_if<std::string>(&input)) {
      prompt.tokens = model.served.tokenizer.encode(*text, encode);
      if (request.echo) prompt.text = *text;
    } else {
      prompt.tokens = std::get<std::vector<TokenId>>(input);
      if (request.echo) prompt.text = model.served.tokenizer.decode(prompt.tokens, decode);
    }
    if (prompt.tokens.empty()) {
      return at_field("prompt", invalid_argument("prompt must have at least one token"));
    }
  }
  return prompts;
}

absl::StatusOr<std::vector<Prompt>> chat_prompts(const ApiRequest& request,
                                                 const NamedModel& model) {
  const ChatTemplate* chat = model.served.chat_template;
  if (chat == nullptr) {
    return at_field("messages", invalid_argument("the model has no chat template: use "
                                                 "/v1/completions, or start the server with "
                                                 "--chat-template"));
  }
  const Vocab& vocab = model.served.tokenizer.vocab();
  ChatContext context;
  context.messages = request.messages;
  context.extra = request.template_values;
  context.add_generation_prompt = request.add_generation_prompt;
  context.bos_token = spelling(vocab, vocab.bos());
  context.eos_token = spelling(vocab, vocab.eos());
  context.now = absl::Now();
  const absl::StatusOr<MarkedText> text = chat->render(context);
  if (!text.ok()) {
    return at_field("messages", invalid_argument("the chat template refuses these messages: {}",
                                                 message_of(text.status())));
  }
  // Templates write the beginning of the sequence themselves.
  const EncodeOptions encode = {.add_special = request.add_special_tokens.value_or(false)};
  std::vector<Prompt> prompts(1);
  prompts.front().tokens = model.served.tokenizer.encode(*text, encode);
  if (prompts.front().tokens.empty()) {
    return at_field("messages", invalid_argument("the chat template makes nothing of messages"));
  }
  return prompts;
}

absl::StatusOr<int64_t> tokens_allowed(const ApiRequest& request, int64_t prompt_tokens,
                                       int64_t tokens_default, int64_t context_max,
                                       std::string_view field) {
  const int64_t rest = context_max - prompt_tokens;
  const std::optional<int64_t> asked = request.answer_tokens();
  const int64_t allowed = asked.value_or(std::min(tokens_default, std::max<int64_t>(rest, 1)));
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
