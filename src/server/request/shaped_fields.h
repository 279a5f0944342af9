#pragma once

#include <string_view>

#include "base/status.h"
#include "server/request/fields.h"

namespace millrace {

// Readers of the fields that have a shape of their own, and the shapes, where "$stops",
// "$stop_tokens" and "$biases" stand for what a ReadContext says.

absl::Status read_logit_bias(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kLogitBiasSchema =
    R"({"type": "object", "maxProperties": "$biases", "propertyNames": {"pattern": "^[0-9]+$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}})";

absl::Status read_allowed_tokens(const Json& value, const ReadContext& context,
                                 ApiRequest& request);
inline constexpr std::string_view kAllowedTokensSchema =
    R"({"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}})";

absl::Status read_bad_words(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kBadWordsSchema =
    R"({"type": "array", "maxItems": 1000, "items": {"type": "string", "pattern": "[^ ]"}})";

absl::Status read_seed(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kSeedSchema =
    R"({"type": "integer", "minimum": -9223372036854775808, "maximum": 18446744073709551615})";

absl::Status read_stop(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kStopSchema =
    R"({"oneOf": [{"type": "string", "minLength": 1},
        {"type": "array", "maxItems": "$stops", "items": {"type": "string", "minLength": 1}}]})";

absl::Status read_stop_tokens(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kStopTokensSchema =
    R"({"type": "array", "maxItems": "$stop_tokens", "items": {"type": "integer", "minimum": 0}})";

absl::Status read_stream_options(const Json& value, const ReadContext& context,
                                 ApiRequest& request);
inline constexpr std::string_view kStreamOptionsSchema =
    R"({"type": "object", "properties": {"include_usage": {"type": "boolean"},
        "continuous_usage_stats": {"type": "boolean"}, "include_obfuscation": {"const": false}}})";

absl::Status read_cache_salt(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kCacheSaltSchema = R"({"type": "string", "minLength": 1})";

absl::Status read_speculation(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kSpeculationSchema =
    R"({"type": "object", "properties": {"method": {"type": "string", "minLength": 1}},
        "required": ["method"], "additionalProperties": false})";

absl::Status read_request_id(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kRequestIdSchema =
    R"({"type": "string", "pattern": "^[!#-\\[\\]-~]{1,128}$"})";

absl::Status read_response_format(const Json& value, const ReadContext& context,
                                  ApiRequest& request);
inline constexpr std::string_view kResponseFormatSchema =
    R"({"type": "object", "properties": {"type": {"const": "text"}}, "required": ["type"]})";

absl::Status read_template_values(const Json& value, const ReadContext& context,
                                  ApiRequest& request);
inline constexpr std::string_view kTemplateValuesSchema = R"({"type": "object"})";

absl::Status read_documents(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kDocumentsSchema =
    R"({"type": "array", "items": {"type": "object"}})";

absl::Status read_reasoning_effort(const Json& value, const ReadContext& context,
                                   ApiRequest& request);
inline constexpr std::string_view kReasoningEffortSchema =
    R"({"enum": ["none", "minimal", "low", "medium", "high", "xhigh", "max"]})";

absl::Status read_tokens_kept(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kTokensKeptSchema =
    R"({"type": "integer", "minimum": -1, "maximum": 2147483647, "not": {"const": 0}})";

absl::Status read_truncation_side(const Json& value, const ReadContext& context,
                                  ApiRequest& request);
inline constexpr std::string_view kTruncationSideSchema = R"({"enum": ["left", "right"]})";

absl::Status read_tools(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kToolsSchema =
    R"({"type": "array", "items": {"type": "object"}})";

absl::Status read_tool_choice(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kToolChoiceSchema = R"({"enum": ["none", "auto"]})";

absl::Status read_prompt(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kPromptSchema =
    R"({"oneOf": [{"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        {"type": "array", "minItems": 1, "items":
         {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}}]})";

absl::Status read_messages(const Json& value, const ReadContext& context, ApiRequest& request);
inline constexpr std::string_view kMessagesSchema =
    R"({"type": "array", "minItems": 1, "items": {"type": "object",
        "properties": {"role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
         "content": {"oneOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items":
          {"type": "object", "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
           "required": ["type", "text"]}}]},
         "name": {"type": "string"}, "tool_call_id": {"type": "string"}},
        "required": ["role", "content"]}})";

}  // namespace millrace
