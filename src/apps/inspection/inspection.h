#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "chat/capabilities.h"
#include "core/kv_spec.h"
#include "files/checkpoint.h"
#include "tensor/dtype.h"

namespace millrace {

// The load that memory is reckoned for.
struct InspectedLoad {
  int64_t context = 0;  // tokens; 0: what the model was trained for
  int64_t sequences = 1;
  DType cache = DType::kF16;
  std::string pre = {};            // the split pattern; empty: the one that the file names
  std::string chat_template = {};  // as for chosen_chat_template
  std::string model = {};          // the file, or a folder, whose vocabulary is beside its weights
};

struct TypeTotal {
  std::string type;
  int64_t tensors = 0;
  int64_t bytes = 0;
};

// What one group of the cache keeps: its units are those of all sequences at their longest.
struct GroupNeed {
  KvGroup group;
  int64_t sequence_bytes = 0;
};

struct CacheNeed {
  int64_t context = 0;
  std::vector<GroupNeed> groups;
  int64_t bytes = 0;  // of all groups
  // What a token's latents cost, and what keys and values of all their heads would; 0: none.
  int64_t latent_token_bytes = 0;
  int64_t heads_token_bytes = 0;

  int64_t token_bytes() const;  // in all groups together, while a sequence is short
};

// How a model can be drafted for.
struct DraftSupport {
  bool trees = false;           // false: chains alone, as it keeps states
  std::string vocabulary_kind;  // a GGUF file's tokenizer.ggml.model, or tokenizer.json
  int64_t vocabulary_tokens = 0;
};

// What can be said about a model file without loading it.
struct Inspection {
  std::vector<TypeTotal> totals;         // most bytes first; tensors of unknown types have none
  int64_t weight_bytes = 0;              // in the form that the kernels read
  std::optional<CacheNeed> cache;        // absent where the architecture is not understood
  std::optional<DraftSupport> drafts;    // absent where the model cannot be run
  std::optional<ChatCapabilities> chat;  // of the chat template; absent where there is none
  std::vector<std::string> obstacles;    // why it cannot be run, a line each
  std::vector<std::string> remarks;      // what else a user should know
};

// OUT_OF_RANGE when the load is beyond all memory.
absl::StatusOr<Inspection> inspect(const Checkpoint& checkpoint, const InspectedLoad& load);

}  // namespace millrace
