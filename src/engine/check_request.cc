#include "engine/check_request.h"

#include <algorithm>
#include <string_view>

#include <fmt/ranges.h>

namespace millrace {
namespace {

absl::Status check_token(TokenId token, std::string_view what, const ModelCard& card) {
  if (token >= 0 && token < card.vocab_size) return absl::OkStatus();
  return invalid_argument("{} names token {}, the vocabulary ends at {}", what, token,
                          card.vocab_size - 1);
}

absl::Status check_tokens(const Request& request, const ModelCard& card) {
  for (const TokenId token : request.prompt) {
    RETURN_IF_ERROR(check_token(token, "the prompt", card));
  }
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    RETURN_IF_ERROR(check_token(token, "logit_bias", card));
  }
  for (const std::vector<TokenId>& run : request.sampling.banned) {
    if (run.empty()) return invalid_argument("bad_words has a word of no tokens");
    for (const TokenId token : run) RETURN_IF_ERROR(check_token(token, "bad_words", card));
  }
  for (const TokenId token : request.sampling.allowed) {
    RETURN_IF_ERROR(check_token(token, "allowed_token_ids", card));
  }
  for (const TokenId token : request.stop.tokens) {
    RETURN_IF_ERROR(check_token(token, "stop_token_ids", card));
  }
  return absl::OkStatus();
}

absl::Status check_draft_method(const std::string& method, const ModelCard& card) {
  std::vector<std::string> known = {"none"};
  if (card.drafts_automatically) known.emplace_back("auto");
  known.insert(known.end(), card.draft_methods.begin(), card.draft_methods.end());
  if (method.empty() || std::ranges::count(known, method) > 0) return absl::OkStatus();
  return invalid_argument("no drafts are made by '{}' here; there are: {}", method,
                          fmt::join(known, ", "));
}

}  // namespace

absl::Status check_request(const Request& request, const ModelCard& card) {
  if (request.prompt.empty()) return invalid_argument("the prompt is empty");
  if (request.stop.tokens_max < 1) return invalid_argument("max_tokens must be at least 1");
  if (request.choices < 1) return invalid_argument("n must be at least 1");
  for (const std::string& stop : request.stop.strings) {
    if (stop.empty()) return invalid_argument("a stop string is empty");
  }
  RETURN_IF_ERROR(check_tokens(request, card));
  RETURN_IF_ERROR(check_draft_method(request.draft_method, card));
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t answer = request.stop.tokens_max;
  if (prompt <= card.context_max && answer <= card.context_max - prompt) return absl::OkStatus();
  // Clients look for vLLM's sentence. The sum may not fit 64 bits.
  return out_of_range(
      "This model's maximum context length is {} tokens. However, you requested {} output tokens "
      "and your prompt contains at least {} input tokens, for a total of at least {} tokens. "
      "Please reduce the length of the input prompt or the number of requested output tokens.",
      card.context_max, answer, prompt,
      static_cast<uint64_t>(prompt) + static_cast<uint64_t>(answer));
}

}  // namespace millrace
