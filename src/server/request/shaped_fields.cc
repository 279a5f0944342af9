#include "server/request/shaped_fields.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <absl/container/flat_hash_set.h>
#include <openssl/sha.h>

#include "server/http/api_error.h"

namespace millrace {
namespace {

constexpr double kBiasMax = 100;
constexpr int64_t kBadWordsMax = 1000;
constexpr size_t kRequestIdBytesMax = 128;

std::string element_path(std::string_view path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

bool is_one_of(const Json& text, std::span<const std::string_view> known) {
  return std::ranges::find(known, text.get_ref<const std::string&>()) != known.end();
}

bool is_word(std::string_view text) { return text.find_first_not_of(' ') != text.npos; }

absl::Status add_stop(const Json& value, std::string_view path, const ReadContext& context,
                      std::vector<std::string>& stops) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    return at_field(path, invalid_argument("{} must be a string that is not empty", path));
  }
  if (std::ssize(value.get_ref<const std::string&>()) > context.stop_bytes_max) {
    return at_field(
        path, invalid_argument("{} must be at most {} bytes long", path, context.stop_bytes_max));
  }
  stops.push_back(value.get<std::string>());
  return absl::OkStatus();
}

absl::Status add_prompt(const Json& value, std::string_view path, const ReadContext& context,
                        ApiRequest& request) {
  if (value.is_string()) {
    request.prompts.emplace_back(value.get<std::string>());
    return absl::OkStatus();
  }
  if (!value.is_array()) {
    return at_field(path, invalid_argument("{} must be a string or a list of token ids", path));
  }
  if (value.empty()) return at_field(path, invalid_argument("{} must not be empty", path));
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, read_token_ids(value, path, context));
  request.prompts.emplace_back(std::move(ids));
  return absl::OkStatus();
}

}  // namespace

absl::Status read_logit_bias(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_object()) return invalid_argument("logit_bias must be an object");
  if (std::cmp_greater(value.size(), context.biases_max)) {
    return invalid_argument("logit_bias must have at most {} entries", context.biases_max);
  }
  absl::flat_hash_set<TokenId> seen;
  for (const auto& [key, bias] : value.items()) {
    const std::string path = "logit_bias." + key;
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool whole = error == std::errc() && end == key.data() + key.size();
    if (!whole || id < 0 || id >= context.vocab_size) {
      return at_field("logit_bias", invalid_argument("logit_bias has a key that is no token id: "
                                                     "they go from 0 to {}",
                                                     context.vocab_size - 1));
    }
    if (!bias.is_number() || !(std::abs(bias.get<double>()) <= kBiasMax)) {
      return at_field(path, invalid_argument("{} must be a number from -100 to 100", path));
    }
    if (!seen.insert(id).second) {
      return at_field(path, invalid_argument("{} names a token a second time", path));
    }
    request.generation.sampling.logit_bias.emplace_back(id, bias.get<float>());
  }
  return absl::OkStatus();
}

absl::Status read_allowed_tokens(const Json& value, const ReadContext& context,
                                 ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array() || value.empty()) {
    return invalid_argument("allowed_token_ids must be a list of at least one token id");
  }
  ASSIGN_OR_RETURN(request.generation.sampling.allowed,
                   read_token_ids(value, "allowed_token_ids", context));
  return absl::OkStatus();
}

absl::Status read_bad_words(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array() || std::cmp_greater(value.size(), kBadWordsMax)) {
    return invalid_argument("bad_words must be a list of at most {} words", kBadWordsMax);
  }
  int64_t bytes = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = element_path("bad_words", i);
    const bool word = value[i].is_string() && is_word(value[i].get_ref<const std::string&>());
    if (!word) return at_field(path, invalid_argument("{} must be more than spaces", path));
    bytes += std::ssize(value[i].get_ref<const std::string&>());
    if (bytes > context.bad_word_bytes_max) {
      return invalid_argument("bad_words must be at most {} bytes long together",
                              context.bad_word_bytes_max);
    }
    request.bad_words.push_back(value[i].get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status read_seed(const Json& value, const ReadContext& /*context*/, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_number_integer()) return invalid_argument("seed must be a 64-bit integer");
  request.seed = value.is_number_unsigned() ? value.get<uint64_t>()
                                            : static_cast<uint64_t>(value.get<int64_t>());
  return absl::OkStatus();
}

absl::Status read_stop(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  std::vector<std::string> stops;
  if (!value.is_array()) {
    RETURN_IF_ERROR(add_stop(value, "stop", context, stops));
  } else if (std::cmp_greater(value.size(), context.stops_max)) {
    return invalid_argument("stop must have at most {} strings", context.stops_max);
  } else {
    for (size_t i = 0; i < value.size(); ++i) {
      RETURN_IF_ERROR(add_stop(value[i], element_path("stop", i), context, stops));
    }
  }
  request.generation.stop.strings = std::move(stops);
  return absl::OkStatus();
}

absl::Status read_stop_tokens(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return invalid_argument("stop_token_ids must be a list of token ids");
  ASSIGN_OR_RETURN(TokenSet tokens, read_token_ids(value, "stop_token_ids", context));
  if (std::cmp_greater(tokens.size(), context.stop_tokens_max)) {
    return invalid_argument("stop_token_ids must have at most {} tokens", context.stop_tokens_max);
  }
  request.generation.stop.tokens = std::move(tokens);
  return absl::OkStatus();
}

absl::Status read_stream_options(const Json& value, const ReadContext& /*context*/,
                                 ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_object()) return invalid_argument("stream_options must be an object");
  request.stream_options = true;
  for (const auto& [name, option] : value.items()) {
    const std::string path = "stream_options." + name;
    const bool included = name == "include_usage";
    const bool continuous = name == "continuous_usage_stats";
    const bool refused = name == "include_obfuscation";
    if (option.is_null() || !(included || continuous || refused)) continue;
    if (!option.is_boolean()) {
      return at_field(path, invalid_argument("{} must be true or false", path));
    }
    if (included) request.answer.include_usage = option.get<bool>();
    if (continuous) request.answer.continuous_usage = option.get<bool>();
    if (refused && option.get<bool>()) {
      return at_field(path, unimplemented("{} is not supported by this server", path));
    }
  }
  return absl::OkStatus();
}

absl::Status read_request_id(const Json& value, const ReadContext& /*context*/,
                             ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  const std::string id = value.is_string() ? value.get<std::string>() : std::string();
  const bool printable =
      std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
  if (id.empty() || id.size() > kRequestIdBytesMax || !printable) {
    return invalid_argument("request_id must be 1 to {} printable ASCII characters",
                            kRequestIdBytesMax);
  }
  request.client_id = id;
  return absl::OkStatus();
}

absl::Status read_cache_salt(const Json& value, const ReadContext& /*context*/,
                             ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    return invalid_argument("cache_salt must be a string that is not empty");
  }
  // A cryptographic hash: no client can construct a salt that collides with another's.
  const auto& salt = value.get_ref<const std::string&>();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), digest);
  std::memcpy(&request.generation.cache_salt, digest, sizeof request.generation.cache_salt);
  return absl::OkStatus();
}

absl::Status read_speculation(const Json& value, const ReadContext& /*context*/,
                              ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  const auto method = value.find("method");
  const bool fits = value.is_object() && value.size() == 1 && method != value.end() &&
                    method->is_string() && !method->get_ref<const std::string&>().empty();
  if (!fits) return invalid_argument("speculation must be an object with a method, a string");
  request.generation.draft_method = method->get_ref<const std::string&>();
  return absl::OkStatus();
}

absl::Status read_response_format(const Json& value, const ReadContext& /*context*/,
                                  ApiRequest& /*request*/) {
  if (value.is_null()) return absl::OkStatus();
  const bool typed = value.is_object() && value.contains("type") && value["type"].is_string();
  if (!typed) return invalid_argument("response_format must be an object with a type");
  if (value["type"] == "text") return absl::OkStatus();
  return unimplemented("response_format other than text is not supported by this server");
}

absl::Status read_template_values(const Json& value, const ReadContext& /*context*/,
                                  ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_object()) return invalid_argument("chat_template_kwargs must be an object");
  constexpr std::string_view kReserved[] = {"tokenize",
                                            "chat_template",
                                            "messages",
                                            "tools",
                                            "documents",
                                            "add_generation_prompt",
                                            "continue_final_message",
                                            "bos_token",
                                            "eos_token"};
  for (const std::string_view name : kReserved) {
    if (!value.contains(name)) continue;
    const std::string path = fmt::format("chat_template_kwargs.{}", name);
    return at_field(path, invalid_argument("{} may not be set here", path));
  }
  request.chat.values = value;
  return absl::OkStatus();
}

absl::Status read_documents(const Json& value, const ReadContext& /*context*/,
                            ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return invalid_argument("documents must be a list of objects");
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = element_path("documents", i);
    if (!value[i].is_object()) {
      return at_field(path, invalid_argument("{} must be an object", path));
    }
  }
  request.chat.documents = value;
  return absl::OkStatus();
}

absl::Status read_reasoning_effort(const Json& value, const ReadContext& /*context*/,
                                   ApiRequest& request) {
  constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium",
                                           "high", "xhigh",   "max"};
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_string() || !is_one_of(value, kEfforts)) {
    return invalid_argument(
        "reasoning_effort must be none, minimal, low, medium, high, xhigh or "
        "max");
  }
  request.chat.reasoning_effort = value.get<std::string>();
  return absl::OkStatus();
}

absl::Status read_tokens_kept(const Json& value, const ReadContext& /*context*/,
                              ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t kept,
                   read_integer(value, "truncate_prompt_tokens", -1, kIntegerMax));
  if (kept == 0) return invalid_argument("truncate_prompt_tokens must be -1 or at least 1");
  request.encoding.tokens_kept = kept;
  return absl::OkStatus();
}

absl::Status read_truncation_side(const Json& value, const ReadContext& /*context*/,
                                  ApiRequest& request) {
  constexpr std::string_view kSides[] = {"left", "right"};
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_string() || !is_one_of(value, kSides)) {
    return invalid_argument("truncation_side must be left or right");
  }
  request.encoding.keep_first = value == "right";
  return absl::OkStatus();
}

absl::Status read_tools(const Json& value, const ReadContext& /*context*/, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return invalid_argument("tools must be a list");
  request.has_tools = !value.empty();
  return absl::OkStatus();
}

absl::Status read_tool_choice(const Json& value, const ReadContext& /*context*/,
                              ApiRequest& request) {
  if (value.is_null() || value == "auto") return absl::OkStatus();
  if (value != "none") return unimplemented("tool_choice other than none is not supported");
  request.tools_refused = true;
  return absl::OkStatus();
}

absl::Status read_prompt(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  const bool list =
      value.is_array() && !value.empty() && (value.front().is_string() || value.front().is_array());
  if (!list) return add_prompt(value, "prompt", context, request);
  request.prompts_listed = true;
  for (size_t i = 0; i < value.size(); ++i) {
    const bool alike = value[i].type() == value.front().type();
    if (!alike) return invalid_argument("prompt must not mix texts and token ids");
    RETURN_IF_ERROR(add_prompt(value[i], element_path("prompt", i), context, request));
  }
  return absl::OkStatus();
}

}  // namespace millrace
