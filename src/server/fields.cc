#include "server/fields.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

#include "server/api_error.h"
#include "server/shaped_fields.h"

namespace millrace {
namespace {

using R = ApiRequest;

constexpr int64_t kTokensMax = std::numeric_limits<int32_t>::max();
constexpr int64_t kChoicesMax = 128;
constexpr int64_t kTopKMax = std::numeric_limits<int32_t>::max();
constexpr double kFloatMax = FLT_MAX;  // what the sampler can hold

constexpr Field kCommonFields[] = {
    {"model", TextField{[](R& r, const std::string& v) { r.model = v; }}},
    {"request_id", TextField{[](R& r, const std::string& v) { r.client_id = v; }}},
    {"temperature", NumberField{0, kFloatMax, false,
                                [](R& r, double v) {
                                  r.generation.sampling.temperature = static_cast<float>(v);
                                }}},
    {"top_p",
     NumberField{0, 1, false,
                 [](R& r, double v) { r.generation.sampling.top_p = static_cast<float>(v); }}},
    {"min_p",
     NumberField{0, 1, false,
                 [](R& r, double v) { r.generation.sampling.min_p = static_cast<float>(v); }}},
    {"typical_p",
     NumberField{0, 1, true,
                 [](R& r, double v) { r.generation.sampling.typical = static_cast<float>(v); }}},
    {"top_k", IntegerField{-1, kTopKMax,
                           [](R& r, int64_t v) {
                             r.generation.sampling.top_k = v < 0 ? 0 : static_cast<int32_t>(v);
                           }}},
    {"presence_penalty",
     NumberField{-2, 2, false,
                 [](R& r, double v) { r.generation.sampling.presence = static_cast<float>(v); }}},
    {"frequency_penalty",
     NumberField{-2, 2, false,
                 [](R& r, double v) { r.generation.sampling.frequency = static_cast<float>(v); }}},
    {"repetition_penalty",
     NumberField{0, kFloatMax, true,
                 [](R& r, double v) { r.generation.sampling.repetition = static_cast<float>(v); }}},
    {"logit_bias", ShapedField{read_logit_bias}},
    {"seed", ShapedField{read_seed}},
    {"n", IntegerField{1, kChoicesMax,
                       [](R& r, int64_t v) { r.generation.choices = static_cast<int32_t>(v); }}},
    {"max_tokens", IntegerField{1, kTokensMax, [](R& r, int64_t v) { r.tokens_max = v; }}},
    {"max_completion_tokens",
     IntegerField{1, kTokensMax, [](R& r, int64_t v) { r.completion_tokens_max = v; }}},
    {"min_tokens",
     IntegerField{0, kTokensMax, [](R& r, int64_t v) { r.generation.stop.tokens_min = v; }}},
    {"stop", ShapedField{read_stop}},
    {"stop_token_ids", ShapedField{read_stop_token_ids}},
    {"ignore_eos", FlagField{[](R& r, bool v) { r.generation.stop.ignore_eos = v; }}},
    {"include_stop_str_in_output", FlagField{[](R& r, bool v) { r.include_stop = v; }}},
    {"skip_special_tokens", FlagField{[](R& r, bool v) { r.skip_special = v; }}},
    {"add_special_tokens", FlagField{[](R& r, bool v) { r.add_special_tokens = v; }}},
    {"prompt_logprobs", ShapedField{read_prompt_logprobs}},
    {"stream", FlagField{[](R& r, bool v) { r.stream = v; }}},
    {"stream_options", ShapedField{read_stream_options}},
    {"cache_salt", ShapedField{read_cache_salt}},
    {"response_format", ShapedField{read_response_format}},

    {"user", HintField{}},
    {"metadata", HintField{}},

    {"use_beam_search", UnsupportedField{"false"}},
    {"length_penalty", UnsupportedField{"1 1.0"}},
    {"spaces_between_special_tokens", UnsupportedField{"true"}},
    {"truncate_prompt_tokens", UnsupportedField{}},
    {"truncation_side", UnsupportedField{}},
    {"allowed_token_ids", UnsupportedField{}},
    {"bad_words", UnsupportedField{"[]"}},
    {"structured_outputs", UnsupportedField{}},
    {"guided_json", UnsupportedField{}},
    {"guided_regex", UnsupportedField{}},
    {"guided_choice", UnsupportedField{}},
    {"guided_grammar", UnsupportedField{}},
    {"structural_tag", UnsupportedField{}},
    {"priority", UnsupportedField{"0"}},
    {"return_tokens_as_token_ids", UnsupportedField{"false"}},
    {"return_token_ids", UnsupportedField{"false"}},
    {"kv_transfer_params", UnsupportedField{}},
    {"vllm_xargs", UnsupportedField{}},
    {"logits_processors", UnsupportedField{"[]"}},
    {"repetition_detection", UnsupportedField{}},
};

constexpr Field kCompletionFields[] = {
    {"prompt", ShapedField{read_prompt}},
    {"echo", FlagField{[](R& r, bool v) { r.echo = v; }}},
    {"logprobs", ShapedField{read_completion_logprobs}},
    {"best_of", IntegerField{1, kChoicesMax, [](R& r, int64_t v) { r.best_of = v; }}},
    {"suffix", UnsupportedField{"\"\""}},
    {"prompt_embeds", UnsupportedField{}},
};

constexpr Field kChatFields[] = {
    {"messages", ShapedField{read_messages}},
    {"logprobs", FlagField{[](R& r, bool v) { r.wants_logprobs = v; }}},
    {"top_logprobs", ShapedField{read_top_logprobs}},
    {"add_generation_prompt", FlagField{[](R& r, bool v) { r.add_generation_prompt = v; }}},
    {"chat_template_kwargs", ShapedField{read_template_values}},
    {"tools", ShapedField{read_tools}},
    {"tool_choice", ShapedField{read_tool_choice}},

    {"safety_identifier", HintField{}},
    {"prompt_cache_key", HintField{}},
    {"prompt_cache_retention", HintField{}},
    {"parallel_tool_calls", HintField{}},

    {"store", UnsupportedField{"false"}},
    {"service_tier", UnsupportedField{"\"auto\" \"default\""}},
    {"modalities", UnsupportedField{"[\"text\"]"}},
    {"verbosity", UnsupportedField{"\"medium\""}},
    {"reasoning_effort", UnsupportedField{"\"none\""}},
    {"include_reasoning", UnsupportedField{"true"}},
    {"thinking_token_budget", UnsupportedField{}},
    {"audio", UnsupportedField{}},
    {"prediction", UnsupportedField{}},
    {"web_search_options", UnsupportedField{}},
    {"functions", UnsupportedField{"[]"}},
    {"function_call", UnsupportedField{"\"none\""}},
    {"echo", UnsupportedField{"false"}},
    {"continue_final_message", UnsupportedField{"false"}},
    {"documents", UnsupportedField{"[]"}},
    {"chat_template", UnsupportedField{}},
    {"mm_processor_kwargs", UnsupportedField{}},
    {"media_io_kwargs", UnsupportedField{}},
};

// One field's value, judged by its rule.
class Reader {
 public:
  Reader(std::string_view name, const Json& value, const ReadContext& context, R& request)
      : name_(name), value_(value), context_(context), request_(request) {}

  absl::Status operator()(const NumberField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_number()) return fault("must be a number");
    // As the sampler will hold it: what rounds to zero is zero.
    const double given = value_.get<double>();
    const double number = std::abs(given) <= kFloatMax ? static_cast<float>(given) : given;
    if (number < rule.min || number > rule.max || (rule.above_min && number <= rule.min)) {
      return fault(range_text(rule));
    }
    rule.set(request_, number);
    return absl::OkStatus();
  }

  absl::Status operator()(const IntegerField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t integer, read_integer(value_, name_, rule.min, rule.max));
    rule.set(request_, integer);
    return absl::OkStatus();
  }

  absl::Status operator()(const FlagField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_boolean()) return fault("must be true or false");
    rule.set(request_, value_.get<bool>());
    return absl::OkStatus();
  }

  absl::Status operator()(const TextField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_string()) return fault("must be a string");
    rule.set(request_, value_.get_ref<const std::string&>());
    return absl::OkStatus();
  }

  absl::Status operator()(const ShapedField& rule) const {
    return at_field(name_, rule.read(value_, context_, request_));
  }

  absl::Status operator()(const HintField& /*rule*/) const { return absl::OkStatus(); }

  absl::Status operator()(const UnsupportedField& rule) const {
    if (value_.is_null() || is_harmless(rule.harmless)) return absl::OkStatus();
    return at_field(name_, unimplemented("{} is not supported by this server", name_));
  }

 private:
  absl::Status fault(std::string_view what) const {
    return at_field(name_, invalid_argument("{} {}", name_, what));
  }

  static std::string range_text(const NumberField& rule) {
    const std::string_view above = rule.above_min ? "above" : "at least";
    if (rule.max == kFloatMax) return fmt::format("must be {} {} and finite", above, rule.min);
    return fmt::format("must be {} {} and at most {}", above, rule.min, rule.max);
  }

  bool is_harmless(std::string_view harmless) const {
    const bool may_be_large = value_.is_structured() && value_.size() > 1;
    if (may_be_large) return false;
    const std::string text = json_text(value_);
    while (!harmless.empty()) {
      const size_t end = std::min(harmless.find(' '), harmless.size());
      if (harmless.substr(0, end) == text) return true;
      harmless.remove_prefix(std::min(end + 1, harmless.size()));
    }
    return false;
  }

  const std::string_view name_;
  const Json& value_;
  const ReadContext& context_;
  R& request_;
};

const Field* find_field(std::span<const Field> fields, std::string_view name) {
  for (const Field& field : fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

absl::StatusOr<ApiRequest> read_fields(const Json& body, std::span<const Field> own,
                                       const ReadContext& context) {
  if (!body.is_object()) return invalid_argument("the request body must be a JSON object");
  ApiRequest request;
  for (const auto& [name, value] : body.items()) {
    const Field* field = find_field(own, name);
    if (field == nullptr) field = find_field(kCommonFields, name);
    if (field == nullptr) continue;
    RETURN_IF_ERROR(std::visit(Reader(field->name, value, context, request), field->rule));
  }
  return request;
}

absl::Status check_common(const ApiRequest& request) {
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
  if (request.prompts.empty()) {
    return at_field("prompt", invalid_argument("prompt is required"));
  }
  if (request.best_of && *request.best_of != request.generation.choices) {
    return at_field("best_of", unimplemented("best_of other than n is not supported"));
  }
  if (request.echo) {
    request.generation.prompt_logprobs =
        std::max(request.generation.prompt_logprobs, request.generation.logprobs);
  }
  return absl::OkStatus();
}

absl::Status check_chat(ApiRequest& request) {
  if (request.messages.is_null()) {
    return at_field("messages", invalid_argument("messages is required"));
  }
  if (request.has_tools && !request.tools_refused) {
    return at_field("tools",
                    unimplemented("tools are not supported unless tool_choice is \"none\""));
  }
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

}  // namespace

std::span<const Field> common_fields() { return kCommonFields; }
std::span<const Field> completion_fields() { return kCompletionFields; }
std::span<const Field> chat_fields() { return kChatFields; }

absl::StatusOr<ApiRequest> read_completion(const Json& body, const ReadContext& context) {
  ASSIGN_OR_RETURN(ApiRequest request, read_fields(body, kCompletionFields, context));
  RETURN_IF_ERROR(check_common(request));
  RETURN_IF_ERROR(check_completion(request));
  return request;
}

absl::StatusOr<ApiRequest> read_chat(const Json& body, const ReadContext& context) {
  ASSIGN_OR_RETURN(ApiRequest request, read_fields(body, kChatFields, context));
  RETURN_IF_ERROR(check_common(request));
  RETURN_IF_ERROR(check_chat(request));
  return request;
}

}  // namespace millrace
