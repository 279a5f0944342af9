#include "server/request/field_tables.h"

namespace millrace {
namespace {

// Fields of other servers' requests that would change the answer, or what it shows, and are not
// supported. Those without influence on an answer (cache_prompt, id_slot, keep_alive), or without
// any while the field that switches them on is refused (mirostat_tau, dry_base), are not listed and
// so ignored. An empty schema is not harmless: it constrains an answer to JSON.
constexpr Field kPeerFields[] = {
    // Constraints: llama-server, SGLang, Ollama, TGI.
    {"grammar", UnsupportedField{"\"\""}},
    {"grammar_lazy", UnsupportedField{"false"}},
    {"grammar_triggers", UnsupportedField{"[]"}},
    {"json_schema", UnsupportedField{"\"\""}},
    {"regex", UnsupportedField{"\"\""}},
    {"ebnf", UnsupportedField{"\"\""}},
    {"format", UnsupportedField{"\"\""}},
    {"stop_regex", UnsupportedField{"\"\" []"}},
    {"no_stop_trim", UnsupportedField{"false"}},
    {"stop_sequences", UnsupportedField{"[]"}},

    // Samplers.
    {"mirostat", UnsupportedField{"0"}},
    {"mirostat_mode", UnsupportedField{"0"}},
    {"dry_multiplier", UnsupportedField{"0"}},
    {"xtc_probability", UnsupportedField{"0"}},
    {"dynatemp_range", UnsupportedField{"0"}},
    {"top_n_sigma", UnsupportedField{"-1 0"}},
    {"adaptive_target", UnsupportedField{"-1"}},
    {"tfs_z", UnsupportedField{"1"}},
    {"top_a", UnsupportedField{"0"}},
    {"min_keep", UnsupportedField{"0 1"}},
    {"penalize_nl", UnsupportedField{"false"}},
    {"samplers", UnsupportedField{"[] \"\""}},
    {"watermark", UnsupportedField{"false"}},
    {"do_sample", UnsupportedField{"true"}},
    {"custom_logit_processor", UnsupportedField{"\"\" []"}},

    // Lengths and counts.
    {"n_cmpl", UnsupportedField{"1"}},
    {"max_new_tokens", UnsupportedField{}},
    {"min_new_tokens", UnsupportedField{"0"}},
    {"n_indent", UnsupportedField{"0"}},
    {"t_max_predict_ms", UnsupportedField{"-1 0"}},

    // Parameters in an object of their own.
    {"options", UnsupportedField{"{}"}},
    {"parameters", UnsupportedField{"{}"}},
    {"sampling_params", UnsupportedField{"{}"}},
    {"extra_body", UnsupportedField{"{}"}},

    // Adapters.
    {"lora", UnsupportedField{"[] \"\""}},
    {"lora_path", UnsupportedField{"[] \"\""}},
    {"lora_request", UnsupportedField{"{}"}},
    {"adapter", UnsupportedField{"\"\""}},
    {"adapter_id", UnsupportedField{"\"\""}},

    // Other input than a prompt or messages.
    {"images", UnsupportedField{"[]"}},
    {"image_data", UnsupportedField{"[] \"\""}},
    {"audio_data", UnsupportedField{"[] \"\""}},
    {"video_data", UnsupportedField{"[] \"\""}},
    {"multimodal_data", UnsupportedField{"[]"}},
    {"input_embeds", UnsupportedField{"[]"}},
    {"input_ids", UnsupportedField{"[]"}},
    {"inputs", UnsupportedField{"\"\""}},
    {"input_extra", UnsupportedField{"[]"}},
    {"truncate", UnsupportedField{"0"}},
    {"input_prefix", UnsupportedField{"\"\""}},
    {"input_suffix", UnsupportedField{"\"\""}},
    {"context", UnsupportedField{"[]"}},
    {"session_params", UnsupportedField{"{}"}},

    // How messages become a prompt.
    {"system", UnsupportedField{"\"\""}},
    {"template", UnsupportedField{"\"\""}},
    {"raw", UnsupportedField{"false"}},
    {"guideline", UnsupportedField{"\"\""}},
    {"tool_prompt", UnsupportedField{"\"\""}},
    {"think", UnsupportedField{}},
    {"enable_thinking", UnsupportedField{}},
    {"reasoning", UnsupportedField{"{}"}},
    {"reasoning_format", UnsupportedField{"\"none\" \"auto\""}},
    {"reasoning_budget", UnsupportedField{"-1"}},
    {"reasoning_budget_tokens", UnsupportedField{"-1"}},
    {"thinking_budget_tokens", UnsupportedField{"-1"}},
    {"thinking_forced_open", UnsupportedField{"false"}},

    // What the answer shows.
    {"n_probs", UnsupportedField{"0"}},
    {"post_sampling_probs", UnsupportedField{"false"}},
    {"top_n_tokens", UnsupportedField{"0"}},
    {"return_logprob", UnsupportedField{"false"}},
    {"top_logprobs_num", UnsupportedField{"0"}},
    {"logprob_token_ids", UnsupportedField{"[]"}},
    {"token_ids_logprob", UnsupportedField{"[]"}},
    {"return_tokens", UnsupportedField{"false"}},
    {"return_full_text", UnsupportedField{"false"}},
    {"return_hidden_states", UnsupportedField{"false"}},
    {"return_routed_experts", UnsupportedField{"false"}},
    {"response_fields", UnsupportedField{"[]"}},
    {"details", UnsupportedField{"false"}},
    {"decoder_input_details", UnsupportedField{"false"}},
    {"ec_transfer_params", UnsupportedField{"{}"}},
};

}  // namespace

FieldTable peer_fields() { return {"Of other servers", kPeerFields}; }

}  // namespace millrace
