#include "server/shaped_fields.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include <absl/container/flat_hash_set.h>
#include <openssl/sha.h>

#include "server/api_error.h"

namespace millrace {
namespace {

constexpr double kBiasMax = 100;

std::string element_path(std::string_view path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

absl::StatusOr<std::vector<TokenId>> read_token_ids(const Json& value, std::string_view path,
                                                    const ReadContext& context) {
  std::vector<TokenId> ids;
  ids.reserve(value.size());
  for (const Json& element : value) {
    const absl::StatusOr<int64_t> id =
        read_integer(element, element_path(path, ids.size()), 0, context.vocab_size - 1);
    if (!id.ok()) return id.status();
    ids.push_back(static_cast<TokenId>(*id));
  }
  return ids;
}

absl::StatusOr<int32_t> read_logprob_count(const Json& value, std::string_view path,
                                           const ReadContext& context) {
  ASSIGN_OR_RETURN(const int64_t count, read_integer(value, path, 0, context.logprobs_max));
  return static_cast<int32_t>(count);
}

absl::Status add_stop(const Json& value, std::string_view path, const ReadContext& context,
                      ApiRequest& request) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    return at_field(path, invalid_argument("{} must be a string that is not empty", path));
  }
  if (std::ssize(value.get_ref<const std::string&>()) > context.stop_bytes_max) {
    return at_field(
        path, invalid_argument("{} must be at most {} bytes long", path, context.stop_bytes_max));
  }
  request.generation.stop.strings.push_back(value.get<std::string>());
  return absl::OkStatus();
}

absl::Status add_prompt(const Json& value, std::string_view path, const ReadContext& context,
                        ApiRequest& request) {
  if (value.is_string()) {
    request.prompts.emplace_back(value.get<std::string>());
    return absl::OkStatus();
  }
  if (!value.is_array() || value.empty()) {
    return at_field(path, invalid_argument("{} must be a string or a list of token ids", path));
  }
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, read_token_ids(value, path, context));
  request.prompts.emplace_back(std::move(ids));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> read_integer(const Json& value, std::string_view path, int64_t min,
                                     int64_t max) {
  if (!value.is_number_integer()) {
    return at_field(path, invalid_argument("{} must be an integer", path));
  }
  constexpr auto kInt64Max = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool beyond = value.is_number_unsigned() && value.get<uint64_t>() > kInt64Max;
  const int64_t integer = beyond ? std::numeric_limits<int64_t>::max() : value.get<int64_t>();
  if (beyond || integer < min || integer > max) {
    return at_field(path,
                    invalid_argument("{} must be at least {} and at most {}", path, min, max));
  }
  return integer;
}

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

absl::Status read_seed(const Json& value, const ReadContext& /*context*/, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_number_integer()) return invalid_argument("seed must be a 64-bit integer");
  request.seed = value.is_number_unsigned() ? value.get<uint64_t>()
                                            : static_cast<uint64_t>(value.get<int64_t>());
  return absl::OkStatus();
}

absl::Status read_stop(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return add_stop(value, "stop", context, request);
  if (std::cmp_greater(value.size(), context.stops_max)) {
    return invalid_argument("stop must have at most {} strings", context.stops_max);
  }
  for (size_t i = 0; i < value.size(); ++i) {
    RETURN_IF_ERROR(add_stop(value[i], element_path("stop", i), context, request));
  }
  return absl::OkStatus();
}

absl::Status read_stop_token_ids(const Json& value, const ReadContext& context,
                                 ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array()) return invalid_argument("stop_token_ids must be a list of token ids");
  if (std::cmp_greater(value.size(), context.vocab_size)) {
    return invalid_argument("stop_token_ids has more ids than the vocabulary");
  }
  ASSIGN_OR_RETURN(request.generation.stop.tokens,
                   read_token_ids(value, "stop_token_ids", context));
  return absl::OkStatus();
}

absl::Status read_prompt_logprobs(const Json& value, const ReadContext& context,
                                  ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(request.generation.prompt_logprobs,
                   read_logprob_count(value, "prompt_logprobs", context));
  request.wants_prompt_logprobs = true;
  return absl::OkStatus();
}

absl::Status read_completion_logprobs(const Json& value, const ReadContext& context,
                                      ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(request.generation.logprobs, read_logprob_count(value, "logprobs", context));
  return absl::OkStatus();
}

absl::Status read_top_logprobs(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(request.top_logprobs, read_logprob_count(value, "top_logprobs", context));
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
    const bool refused = name == "continuous_usage_stats" || name == "include_obfuscation";
    if (option.is_null() || !(included || refused)) continue;
    if (!option.is_boolean()) {
      return at_field(path, invalid_argument("{} must be true or false", path));
    }
    if (included) request.include_usage = option.get<bool>();
    if (refused && option.get<bool>()) {
      return at_field(path, unimplemented("{} is not supported by this server", path));
    }
  }
  return absl::OkStatus();
}

absl::Status read_cache_salt(const Json& value, const ReadContext& /*context*/,
                             ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    return invalid_argument("cache_salt must be a string that is not empty");
  }
  // A hash that nobody can aim at another's salt.
  const auto& salt = value.get_ref<const std::string&>();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), digest);
  std::memcpy(&request.generation.cache_salt, digest, sizeof request.generation.cache_salt);
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
  request.template_values = value;
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
  for (size_t i = 0; i < value.size(); ++i) {
    const bool alike = value[i].type() == value.front().type();
    if (!alike) return invalid_argument("prompt must not mix texts and token ids");
    RETURN_IF_ERROR(add_prompt(value[i], element_path("prompt", i), context, request));
  }
  return absl::OkStatus();
}

}  // namespace millrace
