#include "server/request/request_body.h"

#include <algorithm>

#include "server/http/api_error.h"
#include "server/observe/request_log.h"
#include "server/request/field_tables.h"

namespace millrace {
namespace {

// Does `names`, words between spaces, have one that `json` gives a value?
bool has_one_of(std::string_view names, const Json& json) {
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    const auto found = json.find(names.substr(0, end));
    if (found != json.end() && !found->is_null()) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

absl::Status check_required(const RequestBody& body, const Json& json) {
  if (has_one_of(body.required, json)) return absl::OkStatus();
  const std::string_view first = body.required.substr(0, body.required.find(' '));
  const bool choice = first.size() < body.required.size();
  return at_field(first, choice ? invalid_argument("one of these is required: {}", body.required)
                                : invalid_argument("{} is required", first));
}

absl::Status differ(std::string_view alias, std::string_view name) {
  return at_field(alias, invalid_argument("{} and {} mean the same and differ", alias, name));
}

// What other servers call by another name.
absl::Status settle_aliases(ApiRequest& request) {
  if (const std::optional<int64_t> tokens = request.predict_max) {
    if (*tokens == 0) {
      return at_field("n_predict", invalid_argument("n_predict must be -1 or at least 1"));
    }
    if (request.tokens_max.value_or(*tokens) != *tokens) return differ("n_predict", "max_tokens");
    request.tokens_unbounded = *tokens < 0;
    if (*tokens > 0) request.tokens_max = tokens;
  }
  if (const std::optional<float> penalty = request.repeat_penalty) {
    if (request.repetition_penalty.value_or(*penalty) != *penalty) {
      return differ("repeat_penalty", "repetition_penalty");
    }
    request.repetition_penalty = penalty;
  }
  SamplingParams& sampling = request.generation.sampling;
  sampling.repetition = request.repetition_penalty.value_or(sampling.repetition);
  const bool penalised =
      sampling.repetition != 1 || sampling.presence != 0 || sampling.frequency != 0;
  if (penalised && request.penalty_window.value_or(-1) >= 0) {
    return at_field("repeat_last_n",
                    unimplemented("repeat_last_n other than -1 is not supported: a penalty counts "
                                  "the whole of prompt and answer"));
  }
  return absl::OkStatus();
}

absl::Status check_answer(ApiRequest& request) {
  RETURN_IF_ERROR(settle_aliases(request));
  if (request.stream_options && !request.stream) {
    return at_field("stream_options",
                    invalid_argument("stream_options is only allowed when stream is true"));
  }
  if (request.stream && request.generation.prompt_logprobs >= 0) {
    return at_field("prompt_logprobs",
                    invalid_argument("prompt_logprobs is not available when stream is true"));
  }
  const std::optional<int64_t> answer = request.answer_tokens();
  if (answer && request.generation.stop.tokens_min > *answer) {
    return at_field(
        "min_tokens",
        invalid_argument("min_tokens must be at most max_tokens, which is {}", *answer));
  }
  return absl::OkStatus();
}

absl::Status check_completion(ApiRequest& request) {
  RETURN_IF_ERROR(check_answer(request));
  if (request.best_of && *request.best_of != request.generation.choices) {
    return at_field("best_of", unimplemented("best_of other than n is not supported"));
  }
  if (request.answer.echo) {
    request.generation.prompt_logprobs =
        std::max(request.generation.prompt_logprobs, request.generation.logprobs);
  }
  return absl::OkStatus();
}

absl::Status check_template(ApiRequest& request) {
  if (request.has_tools && !request.tools_refused) {
    return at_field("tools",
                    unimplemented("tools are not supported unless tool_choice is \"none\""));
  }
  if (request.chat.continue_final && request.chat.add_generation_prompt.value_or(false)) {
    return at_field("continue_final_message",
                    invalid_argument("continue_final_message and add_generation_prompt cannot "
                                     "both be true"));
  }
  return absl::OkStatus();
}

absl::Status check_chat(ApiRequest& request) {
  RETURN_IF_ERROR(check_answer(request));
  RETURN_IF_ERROR(check_template(request));
  const bool wants_logprobs = request.wants_logprobs.value_or(false);
  if (request.top_logprobs && !wants_logprobs) {
    return at_field("top_logprobs",
                    invalid_argument("top_logprobs is only allowed when logprobs is true"));
  }
  if (wants_logprobs) {
    request.generation.logprobs = static_cast<int32_t>(request.top_logprobs.value_or(0));
  }
  return absl::OkStatus();
}

absl::Status check_tokenize(ApiRequest& request) {
  const int given = (request.prompts.empty() ? 0 : 1) + (request.content ? 1 : 0) +
                    (request.messages.is_null() ? 0 : 1);
  if (given > 1) {
    return at_field("prompt",
                    invalid_argument("only one of prompt, content and messages is allowed"));
  }
  return check_template(request);
}

absl::Status check_nothing(ApiRequest& /*request*/) { return absl::OkStatus(); }

const FieldTable kChatTables[] = {chat_fields(),       template_fields(), model_fields(),
                                  answer_fields(),     sampling_fields(), encoding_fields(),
                                  truncation_fields(), peer_fields()};
const FieldTable kCompletionTables[] = {completion_fields(), model_fields(),    answer_fields(),
                                        sampling_fields(),   encoding_fields(), truncation_fields(),
                                        peer_fields()};
const FieldTable kTokenizeTables[] = {tokenize_fields(), template_fields(), encoding_fields(),
                                      model_fields()};
const FieldTable kDetokenizeTables[] = {detokenize_fields(), model_fields()};
const FieldTable kTemplateTables[] = {template_fields(), model_fields()};

}  // namespace

const RequestBody kChatBody = {"ChatRequest", kChatTables, "messages", check_chat};
const RequestBody kCompletionBody = {"CompletionRequest", kCompletionTables, "prompt",
                                     check_completion};
const RequestBody kTokenizeBody = {"TokenizeRequest", kTokenizeTables, "prompt content messages",
                                   check_tokenize};
const RequestBody kDetokenizeBody = {"DetokenizeRequest", kDetokenizeTables, "tokens",
                                     check_nothing};
const RequestBody kTemplateBody = {"TemplateRequest", kTemplateTables, "messages", check_template};

const Field* field_of(const RequestBody& body, std::string_view name) {
  for (const FieldTable& table : body.tables) {
    const auto found = std::ranges::find(table.fields, name, &Field::name);
    if (found != table.fields.end()) return &*found;
  }
  return nullptr;
}

absl::StatusOr<ApiRequest> read_body(const RequestBody& body, const Json& json,
                                     const ReadContext& context) {
  if (!json.is_object()) return invalid_argument("the request body must be a JSON object");
  ApiRequest request;
  if (context.defaults != nullptr) context.defaults->fill(request.generation.sampling);
  std::vector<std::string_view> unknown;
  for (const auto& [name, value] : json.get_ref<const Json::object_t&>()) {
    if (const Field* field = field_of(body, name)) {
      RETURN_IF_ERROR(read_field(*field, value, context, request));
    } else {
      unknown.push_back(name);
    }
  }
  if (!unknown.empty()) log_unknown(context.request_id, unknown);
  RETURN_IF_ERROR(check_required(body, json));
  RETURN_IF_ERROR(body.check(request));
  if (context.defaults != nullptr) context.defaults->add_ends(request.generation.stop);
  return request;
}

}  // namespace millrace
