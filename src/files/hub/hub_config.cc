#include "files/hub/hub_config.h"

#include <algorithm>

#include "base/log.h"

namespace millrace {
namespace {

// How a model was made, is trained or stored, how it is run by other programs, and its tokens.
constexpr std::string_view kHarmless[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_model_name_or_path",
    "_name_or_path",
    "_num_labels",
    "n_special",
    "output_past",
    "predict_special_tokens",
    "architectures",
    "attn_implementation",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cls_token_id",
    "decoder_start_token_id",
    "dtype",
    "embd_pdrop",
    "emb_pdrop",
    "eod_token_id",
    "eos_token_id",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "im_end_id",
    "im_start_id",
    "init_device",
    "init_std",
    "initializer_factor",
    "initializer_range",
    "label2id",
    "layerdrop",
    "mask_token_id",
    "model_type",
    "name_or_path",
    "org_vocab_size",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_id",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "reorder_and_upcast_attn",
    "return_dict",
    "router_aux_loss_coef",
    "sep_token_id",
    "slow_but_exact",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "verbose",
    "vocab_size_padded",
};

// Names end with these where they say what is left out in training alone.
constexpr std::string_view kHarmlessEndings[] = {"dropout", "dropout_prob", "_pdrop",
                                                 "_pdrop_rate"};

bool is_harmless(std::string_view key) {
  if (std::ranges::find(kHarmless, key) != std::end(kHarmless)) return true;
  return std::ranges::any_of(kHarmlessEndings,
                             [&](std::string_view ending) { return key.ends_with(ending); });
}

std::string_view first_of(std::string_view keys) { return keys.substr(0, keys.find('|')); }

constexpr double kInfinity = 1e308;

// JSON has no infinities, but Python's writer does: `Infinity`, which becomes a finite number as
// long as the word.
std::string with_finite_numbers(std::string_view text) {
  constexpr std::string_view kWord = "Infinity";
  constexpr std::string_view kNumber = "1.0e+308";
  static_assert(kWord.size() == kNumber.size());
  std::string finite(text);
  bool is_quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') is_quoted = !is_quoted;
    if (text[i] == '\\') ++i;
    if (is_quoted || !text.substr(i).starts_with(kWord)) continue;
    finite.replace(i, kWord.size(), kNumber);
  }
  return finite;
}

// A number, or an infinity as newer writers have it: {"__float__": "Infinity"}.
absl::StatusOr<double> number_of(const JsonNode& node) {
  if (!node.is_object()) return node.number();
  ASSIGN_OR_RETURN(const JsonNode named, node.at("__float__"));
  ASSIGN_OR_RETURN(const std::string_view text, named.string());
  if (text == "Infinity") return kInfinity;
  if (text == "-Infinity") return -kInfinity;
  return node.error("is not a number");
}

absl::Status about(const absl::Status& status) {
  return make_error(status.code(), "config.json: {}", message_of(status));
}

}  // namespace

absl::StatusOr<HubConfig> HubConfig::parse(std::string_view text) {
  ASSIGN_OR_RETURN(JsonNode node, JsonNode::parse(with_finite_numbers(text), "config.json"));
  return HubConfig(std::move(node));
}

JsonNode HubConfig::find(std::string_view keys) {
  JsonNode found = node_.at(first_of(keys)).value();
  while (!keys.empty()) {
    const std::string_view key = first_of(keys);
    keys.remove_prefix(std::min(keys.size(), key.size() + 1));
    read_.emplace(key, true);
    JsonNode node = node_.at(key).value();
    if (found.is_null() && !node.is_null()) found = std::move(node);
  }
  return found;
}

bool HubConfig::is_text(std::string_view keys, std::string_view text) {
  const JsonNode node = find(keys);
  return node.is_string() && node.string().value() == text;
}

bool HubConfig::is_list(std::string_view keys) { return find(keys).is_array(); }

absl::StatusOr<int64_t> HubConfig::integer(std::string_view keys, int64_t min, int64_t max) {
  const absl::StatusOr<int64_t> value = find(keys).integer(min, max);
  if (!value.ok()) return about(value.status());
  return value;
}

absl::StatusOr<int64_t> HubConfig::integer_or(std::string_view keys, int64_t min, int64_t max,
                                              int64_t fallback) {
  return has(keys) ? integer(keys, min, max) : fallback;
}

absl::StatusOr<double> HubConfig::number(std::string_view keys) {
  const absl::StatusOr<double> value = find(keys).number();
  if (!value.ok()) return about(value.status());
  return value;
}

absl::StatusOr<double> HubConfig::number_or(std::string_view keys, double fallback) {
  return has(keys) ? number(keys) : fallback;
}

absl::StatusOr<bool> HubConfig::boolean_or(std::string_view keys, bool fallback) {
  const absl::StatusOr<bool> value = find(keys).boolean_or(fallback);
  if (!value.ok()) return about(value.status());
  return value;
}

absl::StatusOr<std::string> HubConfig::string_or(std::string_view keys, std::string_view fallback) {
  const JsonNode node = find(keys);
  const absl::StatusOr<std::string_view> value = node.string_or(fallback);
  if (!value.ok()) return about(value.status());
  return std::string(*value);
}

absl::StatusOr<std::vector<std::string>> HubConfig::strings(std::string_view keys) {
  std::vector<std::string> values;
  if (!has(keys)) return values;
  const absl::Status status =
      find(keys).for_each_element([&](int64_t, const JsonNode& node) -> absl::Status {
        ASSIGN_OR_RETURN(const std::string_view value, node.string());
        values.emplace_back(value);
        return absl::OkStatus();
      });
  if (!status.ok()) return about(status);
  return values;
}

absl::StatusOr<std::vector<double>> HubConfig::numbers(std::string_view keys) {
  std::vector<double> values;
  if (!has(keys)) return values;
  const absl::Status status =
      find(keys).for_each_element([&](int64_t, const JsonNode& node) -> absl::Status {
        if (node.is_boolean()) {
          ASSIGN_OR_RETURN(const bool value, node.boolean_or(false));
          values.push_back(value ? 1 : 0);
          return absl::OkStatus();
        }
        ASSIGN_OR_RETURN(values.emplace_back(), number_of(node));
        return absl::OkStatus();
      });
  if (!status.ok()) return about(status);
  return values;
}

absl::StatusOr<HubConfig> HubConfig::object(std::string_view keys) {
  JsonNode node = find(keys);
  if (!node.is_null() && !node.is_object()) return about(node.error("is not an object"));
  return HubConfig(std::move(node));
}

absl::Status HubConfig::error(std::string_view keys, std::string_view what) {
  return about(find(keys).error(what));
}

absl::Status HubConfig::not_done(std::string_view keys, std::string_view what) {
  return about(find(keys).not_done(what));
}

absl::Status HubConfig::require(std::string_view key, bool only, std::string_view what) {
  ASSIGN_OR_RETURN(const bool value, boolean_or(key, only));
  if (value == only) return absl::OkStatus();
  return not_done(key, fmt::format("is {}: not supported: {}", value, what));
}

absl::Status HubConfig::check_all_read() const {
  if (node_.is_null()) return absl::OkStatus();
  return node_.for_each_member([&](std::string_view key, const JsonNode& value) -> absl::Status {
    if (value.is_null() || read_.contains(key) || is_harmless(key)) return absl::OkStatus();
    return about(value.not_done("is not known, and may change the model's answers"));
  });
}

}  // namespace millrace
