#include "server/answer/answer_schemas.h"

namespace millrace {
namespace {

constexpr AnswerSchema kSchemas[] = {
    {"Error", R"({"type": "object", "required": ["error"], "additionalProperties": false,
      "properties": {"error": {"type": "object", "additionalProperties": false,
       "required": ["message", "type", "param", "code"],
       "properties": {"message": {"type": "string", "maxLength": 1000},
        "type": {"type": "string"},
        "param": {"type": ["string", "null"], "description": "the field at fault, or a path"},
        "code": {"type": ["string", "null"]}}}}})"},

    {"Usage", R"({"type": "object",
      "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
      "properties": {"prompt_tokens": {"type": "integer"},
       "completion_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"},
       "prompt_tokens_details": {"type": "object", "required": ["cached_tokens"],
        "properties": {"cached_tokens": {"type": "integer"}}}}})"},

    {"Timings", R"({"type": "object", "properties": {
       "cache_n": {"type": "integer"}, "prompt_n": {"type": "integer"},
       "prompt_ms": {"type": "number"}, "prompt_per_token_ms": {"type": "number"},
       "prompt_per_second": {"type": "number"}, "predicted_n": {"type": "integer"},
       "predicted_ms": {"type": "number"}, "predicted_per_token_ms": {"type": "number"},
       "predicted_per_second": {"type": "number"}, "steps": {"type": "integer"},
       "draft_n": {"type": "integer"}, "draft_n_accepted": {"type": "integer"},
       "queue_ms": {"type": "number"}}})"},

    {"ChatAnswer", R"({"type": "object",
      "required": ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"],
      "properties": {"id": {"type": "string"}, "object": {"const": "chat.completion"},
       "created": {"type": "integer"}, "model": {"type": "string"},
       "system_fingerprint": {"type": "string"},
       "choices": {"type": "array", "items": {"type": "object",
        "required": ["index", "message", "logprobs", "finish_reason", "stop_reason"],
        "properties": {"index": {"type": "integer"},
         "message": {"type": "object", "required": ["role", "content"],
          "properties": {"role": {"const": "assistant"}, "content": {"type": "string"}}},
         "logprobs": {"type": ["object", "null"]},
         "finish_reason": {"enum": ["stop", "length"]},
         "stop_reason": {"type": ["string", "integer", "null"]},
         "token_ids": {"type": "array", "items": {"type": "integer"}}}}},
       "usage": {"$ref": "#/components/schemas/Usage"},
       "timings": {"$ref": "#/components/schemas/Timings"},
       "prompt_token_ids": {"type": "array", "items": {"type": "integer"}},
       "prompt_logprobs": {"type": "array", "items": {"type": ["object", "null"]}}}})"},

    {"CompletionAnswer", R"({"type": "object",
      "required": ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"],
      "properties": {"id": {"type": "string"}, "object": {"const": "text_completion"},
       "created": {"type": "integer"}, "model": {"type": "string"},
       "system_fingerprint": {"type": "string"},
       "choices": {"type": "array", "items": {"type": "object",
        "required": ["index", "text", "logprobs", "finish_reason", "stop_reason"],
        "properties": {"index": {"type": "integer"}, "text": {"type": "string"},
         "logprobs": {"type": ["object", "null"]},
         "finish_reason": {"enum": ["stop", "length"]},
         "stop_reason": {"type": ["string", "integer", "null"]},
         "token_ids": {"type": "array", "items": {"type": "integer"}},
         "prompt_token_ids": {"type": "array", "items": {"type": "integer"}},
         "prompt_logprobs": {"type": "array", "items": {"type": ["object", "null"]}}}}},
       "usage": {"$ref": "#/components/schemas/Usage"},
       "timings": {"$ref": "#/components/schemas/Timings"}}})"},

    {"Model", R"({"type": "object", "required": ["id", "object", "created", "owned_by"],
      "properties": {"id": {"type": "string"}, "object": {"const": "model"},
       "created": {"type": "integer"}, "owned_by": {"type": "string"},
       "root": {"type": "string"}, "parent": {"type": "null"},
       "max_model_len": {"type": "integer"}, "permission": {"type": "array"}}})"},

    {"Models", R"({"type": "object", "required": ["object", "data"],
      "properties": {"object": {"const": "list"},
       "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}})"},

    {"Tokens", R"({"type": "object", "required": ["tokens"],
      "properties": {"count": {"type": "integer"}, "max_model_len": {"type": "integer"},
       "token_strs": {"type": ["array", "null"], "items": {"type": "string"}},
       "tokens": {"type": "array", "items": {"oneOf": [{"type": "integer"},
        {"type": "object", "required": ["id", "piece"],
         "properties": {"id": {"type": "integer"}, "piece": {"oneOf": [{"type": "string"},
          {"type": "array", "items": {"type": "integer"}}]}}}]}}}})"},

    {"Text", R"({"type": "object", "required": ["prompt", "content"],
      "properties": {"prompt": {"type": "string"}, "content": {"type": "string"}}})"},

    {"Prompt", R"({"type": "object", "required": ["prompt"],
      "properties": {"prompt": {"type": "string"}}})"},

    {"Health", R"({"type": "object", "required": ["status"],
      "properties": {"status": {"const": "ok"}}})"},

    {"Load", R"({"type": "object", "required": ["server_load"],
      "properties": {"server_load": {"type": "integer", "minimum": 0}}})"},

    {"Version", R"({"type": "object", "required": ["version"],
      "properties": {"version": {"type": "string"}}})"},

    {"Object", R"({"type": "object"})"},
};

}  // namespace

std::span<const AnswerSchema> answer_schemas() { return kSchemas; }

}  // namespace millrace
