#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/input/loaded.h"
#include "apps/options/options.h"
#include "apps/serving/draft.h"
#include "base/clock.h"
#include "base/status.h"
#include "chat/chat.h"
#include "core/answer_defaults.h"
#include "core/observer.h"
#include "decode/propose/all.h"
#include "engine/engine.h"
#include "exec/local.h"
#include "text/tokenizer.h"

namespace millrace {

struct ServedOptions {
  ComputeOptions compute;
  VocabularyOptions vocabulary;
  EngineLimits limits;
  SpeculationConfig speculation;
  int64_t max_queue = 1024;  // sequences that may wait besides those running
  absl::Duration max_queue_age = absl::InfiniteDuration();  // of one that never ran
  std::string name;                                         // empty: the file's stem
  std::string chat_template;                                // empty: the model's own
  std::string generation_config = "auto";                   // as for read_answer_defaults
  std::vector<Observer*> observers;                         // outlive the result
};

// One model being served: both wings, wired. Members are built from top to bottom and live as long
// as the object.
struct Served {
  Generator& generator() const { return *engine; }
  std::string bos_text() const;  // empty where the vocabulary has none
  std::string eos_text() const;

  RealClock clock;
  std::unique_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  AnswerDefaults defaults;
  Loaded loaded;
  std::unique_ptr<LocalExecutor> executor;
  std::unique_ptr<DraftModel> draft;  // null: no second model drafts
  std::unique_ptr<Engine> engine;
  int64_t kv_bytes = 0;
  std::string kv_why;       // what decided it
  std::string context_why;  // what decided the card's context
};

// Loads the model and starts the engine. A progress bar is shown on a terminal meanwhile.
absl::StatusOr<std::unique_ptr<Served>> build_served(const ServedOptions& options);

}  // namespace millrace
