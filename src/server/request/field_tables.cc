#include "server/request/field_tables.h"

#include "server/request/shaped_fields.h"

namespace millrace {
namespace {

using R = ApiRequest;

constexpr Field kModelFields[] = {
    {"model", TextField{[](R& r, const std::string& v) { r.model = v; }},
     "One of the names of /v1/models. Default: the served model."},
    {"user", HintField{}, "For the client's own records."},
};

constexpr Field kAnswerFields[] = {
    {"max_tokens", IntegerField{1, kIntegerMax, [](R& r, int64_t v) { r.tokens_max = v; }},
     "The longest answer, in tokens. With the prompt it must fit the context. Default: 16 for a "
     "completion, the rest of the context for a chat."},
    {"max_completion_tokens",
     IntegerField{1, kIntegerMax, [](R& r, int64_t v) { r.completion_tokens_max = v; }},
     "The same, and wins over max_tokens."},
    {"n_predict", IntegerField{-1, kIntegerMax, [](R& r, int64_t v) { r.predict_max = v; }},
     "llama-server's name for max_tokens; -1 is the rest of the context. Not 0."},
    {"min_tokens",
     IntegerField{0, kIntegerMax, [](R& r, int64_t v) { r.generation.stop.tokens_min = v; }},
     "Before this many tokens nothing ends the answer. At most max_tokens. Default 0."},
    {"stop", ShapedField{read_stop, kStopSchema},
     "The answer ends before any of these strings; the one that ends first wins."},
    {"stop_token_ids", ShapedField{read_stop_tokens, kStopTokensSchema},
     "Tokens that end the answer and are left out of its text."},
    {"include_stop_str_in_output", FlagField{[](R& r, bool v) { r.answer.include_stop = v; }},
     "What ended the answer stays in its text. Default false."},
    {"ignore_eos", FlagField{[](R& r, bool v) { r.generation.stop.ignore_eos = v; }},
     "The model's own end does not end the answer. Default false."},
    {"skip_special_tokens", FlagField{[](R& r, bool v) { r.generation.stop.skip_special = v; }},
     "Special tokens are left out of the text. Default true."},
    {"prompt_logprobs", LogprobsField{[](R& r, int32_t v) {
       r.generation.prompt_logprobs = v;
       r.answer.prompt_logprobs = true;
     }},
     "Log-probabilities of the prompt's tokens and of this many of the likeliest at each. Not in "
     "a stream."},
    {"return_token_ids", FlagField{[](R& r, bool v) { r.answer.token_ids = v; }},
     "The answer holds `prompt_token_ids` and each choice's `token_ids`. Default false."},
    {"return_tokens_as_token_ids", FlagField{[](R& r, bool v) { r.answer.tokens_as_ids = v; }},
     "Log-probabilities name tokens as \"token_id:17\". Default false."},
    {"stream", FlagField{[](R& r, bool v) { r.stream = v; }},
     "The answer comes as server-sent events while it is made. Default false."},
    {"stream_options", ShapedField{read_stream_options, kStreamOptionsSchema},
     "Only with stream. `include_usage`: a last chunk with `usage`; with "
     "`continuous_usage_stats` every chunk has it."},
    {"timings", FlagField{[](R& r, bool v) { r.answer.timings = v; }},
     "The answer, or a stream's last chunk, has a `timings` object: milliseconds in the queue, "
     "over the prompt and over the answer, and tokens per second. Default false."},
    {"response_format", ShapedField{read_response_format, kResponseFormatSchema},
     "Only the type `text` is supported."},
    {"cache_salt", ShapedField{read_cache_salt, kCacheSaltSchema},
     "Cached prompts are shared only among requests with the same salt."},
    {"speculation", ShapedField{read_speculation, kSpeculationSchema},
     "`method`: how drafts are made for this answer, one of those that the server was started "
     "with, `auto` where it chooses by itself, or `none`. The answer is the same either way."},
    {"request_id", ShapedField{read_request_id, kRequestIdSchema},
     "Becomes part of the answer's `id` and of the log. Default: `X-Request-Id`."},

    {"metadata", HintField{}, "For the client's own records."},
    {"spaces_between_special_tokens", HintField{},
     "Special tokens have no spaces between them that are not tokens themselves."},

    {"priority", UnsupportedField{"0"}},
    {"kv_transfer_params", UnsupportedField{}},
    {"vllm_xargs", UnsupportedField{}},
};

constexpr Field kEncodingFields[] = {
    {"add_special_tokens", FlagField{[](R& r, bool v) { r.encoding.add_special = v; }},
     "The tokenizer adds the tokens that begin and end a text. Default: true for a text, false for "
     "messages, whose template writes them."},
};

constexpr Field kTruncationFields[] = {
    {"truncate_prompt_tokens", ShapedField{read_tokens_kept, kTokensKeptSchema},
     "Keeps this many tokens of a longer prompt; -1 as many as fit beside the answer."},
    {"truncation_side", ShapedField{read_truncation_side, kTruncationSideSchema},
     "Which end of a longer prompt goes. Default `left`."},
};

constexpr Field kTemplateFields[] = {
    {"messages", ShapedField{read_messages, kMessagesSchema},
     "The conversation. Text parts of a message are joined by line feeds; the spelling of a "
     "special token inside a message is text."},
    {"add_generation_prompt", FlagField{[](R& r, bool v) { r.chat.add_generation_prompt = v; }},
     "The template ends with the beginning of an answer. Default true, but false with "
     "continue_final_message."},
    {"continue_final_message", FlagField{[](R& r, bool v) { r.chat.continue_final = v; }},
     "The answer goes on with the last message. Not with add_generation_prompt. Default false."},
    {"chat_template_kwargs", ShapedField{read_template_values, kTemplateValuesSchema},
     "Variables for the template, but for the names that are fields of their own."},
    {"documents", ShapedField{read_documents, kDocumentsSchema},
     "Documents for templates that show them."},
    {"reasoning_effort", ShapedField{read_reasoning_effort, kReasoningEffortSchema},
     "A variable for templates that know it."},
    {"tools", ShapedField{read_tools, kToolsSchema},
     "Supported only with tool_choice `none`, which leaves them out."},
    {"tool_choice", ShapedField{read_tool_choice, kToolChoiceSchema},
     "`none`, or `auto` without tools."},

    {"chat_template", UnsupportedField{}},
    {"mm_processor_kwargs", UnsupportedField{}},
    {"media_io_kwargs", UnsupportedField{}},
};

constexpr Field kCompletionFields[] = {
    {"prompt", ShapedField{read_prompt, kPromptSchema},
     "A text, a list of token ids, or a list of either. Each gets n answers."},
    {"echo", FlagField{[](R& r, bool v) { r.answer.echo = v; }},
     "The answer begins with the prompt; log-probabilities too. Default false."},
    {"logprobs", LogprobsField{[](R& r, int32_t v) { r.generation.logprobs = v; }},
     "Log-probabilities of the answer's tokens and of this many of the likeliest at each."},
    {"best_of", IntegerField{1, kIntegerMax, [](R& r, int64_t v) { r.best_of = v; }},
     "Only the same as n."},
    {"suffix", UnsupportedField{"\"\""}},
    {"prompt_embeds", UnsupportedField{}},
};

constexpr Field kChatFields[] = {
    {"logprobs", FlagField{[](R& r, bool v) { r.wants_logprobs = v; }},
     "Log-probabilities of the answer's tokens. Default false."},
    {"top_logprobs", LogprobsField{[](R& r, int32_t v) { r.top_logprobs = v; }},
     "And of this many of the likeliest at each. Only with logprobs."},
    {"echo", FlagField{[](R& r, bool v) { r.answer.echo = v; }},
     "The answer begins with the last message where both have one role. Default false."},

    {"safety_identifier", HintField{}, "For the client's own records."},
    {"prompt_cache_key", HintField{}, "Equal beginnings are found without it."},
    {"prompt_cache_retention", HintField{}, "Prompts are kept as long as there is room."},
    {"parallel_tool_calls", HintField{}, "There are no tool calls."},

    {"store", UnsupportedField{"false"}},
    {"service_tier", UnsupportedField{"\"auto\" \"default\""}},
    {"modalities", UnsupportedField{"[\"text\"]"}},
    {"verbosity", UnsupportedField{"\"medium\""}},
    {"include_reasoning", UnsupportedField{"true"}},
    {"thinking_token_budget", UnsupportedField{}},
    {"audio", UnsupportedField{}},
    {"prediction", UnsupportedField{}},
    {"web_search_options", UnsupportedField{}},
    {"functions", UnsupportedField{"[]"}},
    {"function_call", UnsupportedField{"\"none\""}},
};

constexpr Field kTokenizeFields[] = {
    {"prompt", TextField{[](R& r, const std::string& v) { r.prompts = {PromptInput(v)}; }},
     "A text, answered as vLLM does: `count`, `max_model_len`, `tokens`, `token_strs`."},
    {"content", TextField{[](R& r, const std::string& v) { r.content = v; }},
     "A text, answered as llama-server does: `tokens`."},
    {"return_token_strs", FlagField{[](R& r, bool v) { r.token_texts = v; }},
     "With prompt or messages: `token_strs` holds the tokens' texts. Default false."},
    {"add_special", FlagField{[](R& r, bool v) { r.encoding.add_special = v; }},
     "With content: the tokenizer adds the tokens that begin and end a text. Default false."},
    {"parse_special", FlagField{[](R& r, bool v) { r.encoding.parse_special = v; }},
     "With content: spellings of special tokens are those tokens. Default true."},
    {"with_pieces", FlagField{[](R& r, bool v) { r.with_pieces = v; }},
     "With content: each token is an object of `id` and `piece`. Default false."},
};

constexpr Field kDetokenizeFields[] = {
    {"tokens", TokensField{[](R& r, std::vector<TokenId> v) { r.tokens = std::move(v); }},
     "The tokens of a text."},
};

}  // namespace

FieldTable model_fields() { return {"In every request", kModelFields}; }
FieldTable answer_fields() { return {"The answer", kAnswerFields}; }
FieldTable encoding_fields() { return {"From text to tokens", kEncodingFields}; }
FieldTable truncation_fields() { return {"Prompts that are too long", kTruncationFields}; }
FieldTable template_fields() { return {"Conversations", kTemplateFields}; }
FieldTable completion_fields() { return {"Completions", kCompletionFields}; }
FieldTable chat_fields() { return {"Chats", kChatFields}; }
FieldTable tokenize_fields() { return {"Texts to tokenise", kTokenizeFields}; }
FieldTable detokenize_fields() { return {"Tokens", kDetokenizeFields}; }

}  // namespace millrace
