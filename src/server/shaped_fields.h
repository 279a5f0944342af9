#pragma once

#include <string_view>

#include "base/status.h"
#include "server/fields.h"

namespace millrace {

// An integer within bounds; a number with a fraction is none. `path` names it in the error.
absl::StatusOr<int64_t> read_integer(const Json& value, std::string_view path, int64_t min,
                                     int64_t max);

// Readers of the fields that have a shape of their own.
absl::Status read_logit_bias(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_seed(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_stop(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_stop_token_ids(const Json& value, const ReadContext& context,
                                 ApiRequest& request);
absl::Status read_prompt_logprobs(const Json& value, const ReadContext& context,
                                  ApiRequest& request);
absl::Status read_completion_logprobs(const Json& value, const ReadContext& context,
                                      ApiRequest& request);
absl::Status read_top_logprobs(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_stream_options(const Json& value, const ReadContext& context,
                                 ApiRequest& request);
absl::Status read_cache_salt(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_response_format(const Json& value, const ReadContext& context,
                                  ApiRequest& request);
absl::Status read_template_values(const Json& value, const ReadContext& context,
                                  ApiRequest& request);
absl::Status read_tools(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_tool_choice(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_prompt(const Json& value, const ReadContext& context, ApiRequest& request);
absl::Status read_messages(const Json& value, const ReadContext& context, ApiRequest& request);

}  // namespace millrace
