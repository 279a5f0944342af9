#include "server/request/field_tables.h"
#include "server/request/shaped_fields.h"

namespace millrace {
namespace {

using R = ApiRequest;

constexpr int64_t kChoicesMax = 128;

SamplingParams& sampling(R& request) { return request.generation.sampling; }
float to_float(double value) { return static_cast<float>(value); }

constexpr Field kSamplingFields[] = {
    {"temperature",
     NumberField{0, kNumberMax, false,
                 [](R& r, double v) { sampling(r).temperature = to_float(v); }},
     "0 takes the likeliest token each time. Default 1, or what the model's "
     "generation_config.json says, as for top_p, top_k, min_p and repetition_penalty."},
    {"top_p", NumberField{0, 1, false, [](R& r, double v) { sampling(r).top_p = to_float(v); }},
     "Draws from the likeliest tokens that together have this probability; 0 keeps the likeliest "
     "alone. Default 1."},
    {"top_k",
     IntegerField{-1, kIntegerMax,
                  [](R& r, int64_t v) { sampling(r).top_k = v < 0 ? 0 : static_cast<int32_t>(v); }},
     "Draws from this many of the likeliest tokens; 0 and -1 from all. Default 0."},
    {"min_p", NumberField{0, 1, false, [](R& r, double v) { sampling(r).min_p = to_float(v); }},
     "Leaves out tokens less likely than this part of the likeliest one's probability. Default 0."},
    {"typical_p",
     NumberField{0, 1, true, [](R& r, double v) { sampling(r).typical = to_float(v); }},
     "Locally typical sampling with this probability mass. Default 1, which is off."},
    {"presence_penalty",
     NumberField{-2, 2, false, [](R& r, double v) { sampling(r).presence = to_float(v); }},
     "Subtracted from the logit of each token that the answer holds. Default 0."},
    {"frequency_penalty",
     NumberField{-2, 2, false, [](R& r, double v) { sampling(r).frequency = to_float(v); }},
     "Subtracted from a token's logit once for each time the answer holds it. Default 0."},
    {"repetition_penalty",
     NumberField{0, kNumberMax, true, [](R& r, double v) { r.repetition_penalty = to_float(v); }},
     "Divides positive and multiplies negative logits of tokens of prompt and answer. Default 1."},
    {"repeat_penalty",
     NumberField{0, kNumberMax, true, [](R& r, double v) { r.repeat_penalty = to_float(v); }},
     "llama-server's and Ollama's name for repetition_penalty."},
    {"repeat_last_n", IntegerField{-1, kIntegerMax, [](R& r, int64_t v) { r.penalty_window = v; }},
     "Only -1 where there is a penalty: the whole of prompt and answer counts."},
    {"logit_bias", ShapedField{read_logit_bias, kLogitBiasSchema},
     "Added to the logits of tokens, by token id."},
    {"allowed_token_ids", ShapedField{read_allowed_tokens, kAllowedTokensSchema},
     "The only tokens that the answer may hold."},
    {"bad_words", ShapedField{read_bad_words, kBadWordsSchema},
     "Words that the answer never holds, each as the tokens that it is by itself or after a "
     "space."},
    {"seed", ShapedField{read_seed, kSeedSchema},
     "The same seed gives the same answer. Without one each request draws its own."},
    {"n",
     IntegerField{1, kChoicesMax,
                  [](R& r, int64_t v) { r.generation.choices = static_cast<int32_t>(v); }},
     "How many answers to each prompt. Default 1."},

    {"use_beam_search", UnsupportedField{"false"}},
    {"length_penalty", UnsupportedField{"1"}},
    {"structured_outputs", UnsupportedField{}},
    {"guided_json", UnsupportedField{}},
    {"guided_regex", UnsupportedField{}},
    {"guided_choice", UnsupportedField{}},
    {"guided_grammar", UnsupportedField{}},
    {"structural_tag", UnsupportedField{}},
    {"logits_processors", UnsupportedField{"[]"}},
    {"repetition_detection", UnsupportedField{}},
};

}  // namespace

FieldTable sampling_fields() { return {"How tokens are drawn", kSamplingFields}; }

}  // namespace millrace
