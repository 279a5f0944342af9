#include "server/routes/no_route.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "server/routes/routes.h"

namespace millrace {
namespace {

constexpr size_t kPathBytesMax = 200;  // of what is repeated and compared

struct PeerRoute {
  std::string_view path;  // a star at the end stands for any text
  std::string_view advice;
};

constexpr std::string_view kChat = "use POST /v1/chat/completions";
constexpr std::string_view kCompletion = "use POST /v1/completions";
constexpr std::string_view kModels = "use GET /v1/models";
constexpr std::string_view kTokens = "use POST /tokenize, which counts them";
constexpr std::string_view kNoEmbeddings = "this server makes no embeddings";
constexpr std::string_view kNoRanking = "this server ranks and classifies nothing";
constexpr std::string_view kNoMedia = "this server reads and writes text alone";
constexpr std::string_view kNoAdapters = "this server has no adapters";
constexpr std::string_view kNoStore = "this server keeps nothing of clients";

// Of OpenAI, Anthropic, vLLM, llama-server, SGLang, TGI and Ollama. The first match counts.
constexpr PeerRoute kPeerRoutes[] = {
    {"/v1/responses*", kChat},
    {"/responses*", kChat},
    {"/v1/messages/count_tokens", kTokens},
    {"/v1/messages*", kChat},
    {"/messages*", kChat},
    {"/v1/complete", kCompletion},
    {"/chat/completions*", kChat},
    {"/chat", kChat},
    {"/completion", kCompletion},
    {"/completions*", kCompletion},
    {"/infill", kCompletion},
    {"/generate*", kCompletion},
    {"/inference/*", kCompletion},
    {"/invocations", kChat},
    {"/api/chat", kChat},
    {"/api/generate", kCompletion},
    {"/api/tags", kModels},
    {"/api/ps", kModels},
    {"/api/show", kModels},
    {"/api/version", "use GET /version"},
    {"/api/embed*", kNoEmbeddings},
    {"/models*", kModels},
    {"/props", kModels},
    {"/slots*", "use GET /metrics"},
    {"/info", kModels},
    {"/get_model_info", kModels},
    {"/model_info", kModels},
    {"/get_server_info", kModels},
    {"/server_info", kModels},
    {"/v1/health", "use GET /health"},
    {"/v1/tokenize", "use POST /tokenize"},
    {"/v1/detokenize", "use POST /detokenize"},
    {"/v1/embeddings*", kNoEmbeddings},
    {"/embeddings*", kNoEmbeddings},
    {"/embedding", kNoEmbeddings},
    {"/embed*", kNoEmbeddings},
    {"/v1/embed*", kNoEmbeddings},
    {"/v2/embed*", kNoEmbeddings},
    {"/pooling", kNoEmbeddings},
    {"/encode", kNoEmbeddings},
    {"/rerank*", kNoRanking},
    {"/v1/rerank*", kNoRanking},
    {"/v2/rerank*", kNoRanking},
    {"/score", kNoRanking},
    {"/v1/score", kNoRanking},
    {"/classify", kNoRanking},
    {"/v1/classify", kNoRanking},
    {"/v1/moderations", kNoRanking},
    {"/v1/audio/*", kNoMedia},
    {"/v1/images/*", kNoMedia},
    {"/v1/videos*", kNoMedia},
    {"/v1/realtime*", kNoMedia},
    {"/lora-adapters", kNoAdapters},
    {"/v1/load_lora_adapter", kNoAdapters},
    {"/v1/unload_lora_adapter", kNoAdapters},
    {"/v1/files*", kNoStore},
    {"/v1/batches*", kNoStore},
    {"/v1/assistants*", kNoStore},
    {"/v1/threads*", kNoStore},
    {"/v1/conversations*", kNoStore},
    {"/v1/fine_tuning*", "this server trains nothing"},
};

bool is_at(const PeerRoute& route, std::string_view path) {
  const bool open = route.path.ends_with('*');
  const std::string_view stem = route.path.substr(0, route.path.size() - (open ? 1 : 0));
  return open ? path.starts_with(stem) : path == stem;
}

// Levenshtein's: characters inserted, deleted or replaced.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> costs(b.size() + 1);
  std::iota(costs.begin(), costs.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(costs[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t exchanged = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = costs[j + 1];
      costs[j + 1] = std::min({exchanged, costs[j] + 1, diagonal + 1});
    }
  }
  return costs.back();
}

const Route& nearest_to(std::string_view path) {
  return *std::ranges::min_element(routes(), {},
                                   [&](const Route& route) { return distance(path, route.path); });
}

}  // namespace

std::string no_route_message(std::string_view path) {
  const std::string_view shown = path.substr(0, kPathBytesMax);
  const auto* peer =
      std::ranges::find_if(kPeerRoutes, [&](const PeerRoute& route) { return is_at(route, path); });
  if (peer != std::end(kPeerRoutes)) {
    return fmt::format("There is nothing at {}: {}.", shown, peer->advice);
  }
  const Route& nearest = nearest_to(shown);
  return fmt::format("There is nothing at {}; the nearest is {} {}.", shown, nearest.method,
                     nearest.path);
}

}  // namespace millrace
